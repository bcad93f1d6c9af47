"""Photos are fetched from the public internet, within limits, and never from the private network."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from pipeline3d.errors import Pipeline3dError, TransientFailure, UnusableInput
from pipeline3d_tests.servers import http_server
from resources.photo_fetching import PhotoFetching

BODY = b"picture" * 1000


@pytest.fixture
def server() -> Iterator[str]:
    """A server on loopback with pictures, redirects and refusals."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, rest = self.path[1:].partition("/")
            if path == "status":
                self.send_error(int(rest))
            elif path == "redirect":
                self.send_response(302)
                self.send_header("Location", rest or "/picture")
                self.end_headers()
            elif path == "loop":
                self.send_response(302)
                self.send_header("Location", "/loop")
                self.end_headers()
            else:
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.end_headers()  # no length: it ends where the connection does
                self.wfile.write(BODY)

    with http_server(Handler) as address:
        yield address


def friendly(**options) -> PhotoFetching:
    return PhotoFetching(allowed_hosts=["127.0.0.1"], **options)


def test_a_picture_comes_as_it_is_also_after_a_redirect(server):
    assert friendly().fetch(f"{server}/picture").data == BODY
    assert friendly().fetch(f"{server}/redirect").data == BODY


@pytest.mark.parametrize(
    ("path", "error", "code"),
    [
        ("status/404", UnusableInput, "photo_unreachable"),
        ("status/403", UnusableInput, "photo_unreachable"),
        ("status/500", TransientFailure, "photo_unreachable"),
        ("status/429", TransientFailure, "photo_unreachable"),
        ("loop", UnusableInput, "too_many_redirects"),
        ("redirect/file:///etc/passwd", UnusableInput, "photo_address_invalid"),
        ("redirect/http://169.254.169.254/latest/meta-data", UnusableInput, "photo_address_forbidden"),
    ],
)
def test_what_cannot_be_fetched_says_whether_another_try_may_help(server, path, error, code):
    with pytest.raises(error) as caught:
        friendly().fetch(f"{server}/{path}")
    assert caught.value.code == code


def test_a_picture_that_is_too_large_is_left_while_it_comes(server):
    with pytest.raises(UnusableInput) as caught:
        friendly(max_bytes=100).fetch(f"{server}/picture")
    assert caught.value.code == "photo_too_large"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433"])
def test_this_machine_is_not_a_place_for_photos(server, host):
    port = server.rpartition(":")[2]
    with pytest.raises(Pipeline3dError) as caught:
        PhotoFetching().fetch(f"http://{host}:{port}/picture")
    assert caught.value.code in ("photo_address_forbidden", "photo_unreachable")


def test_a_host_is_forbidden_where_any_of_its_addresses_is_private(monkeypatch):
    found = [(2, 1, 6, "", ("93.184.216.34", 80)), (2, 1, 6, "", ("10.0.0.7", 80))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    with pytest.raises(UnusableInput) as caught:
        PhotoFetching().fetch("http://two-faces.example.com/a.png")
    assert caught.value.code == "photo_address_forbidden"
