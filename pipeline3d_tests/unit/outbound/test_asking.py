"""A request to a stranger's address takes no more time and bytes than it may, and trusts nobody."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline3d.errors import Pipeline3dError, TransientFailure, UnusableInput
from pipeline3d.outbound.asking import Limits, ask
from pipeline3d_tests.servers import http_server

HOST = {"127.0.0.1"}
QUICK = Limits(connect_s=2, read_s=2, whole_s=0.4, max_bytes=1000)
HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads one request and then does what it is told; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    speak(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def drip(begin: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """Say something at once, and then a little for ever: no single wait is long."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(begin)
        for _ in range(1000):
            connection.sendall(drop)
            time.sleep(0.02)

    return speak


@pytest.mark.parametrize(
    "speak",
    [
        drip(b"", b"H"),
        drip(HEAD, b"a: b\r\n"),
        drip(HEAD, b"x"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(HEAD + b"Content-Length: 900\r\n\r\n", b"x"),
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(HEAD + b"\r\n", b""),
    ],
    ids=["status", "headers", "one header", "continue", "body", "chunks", "silence"],
)
def test_no_drip_of_bytes_prolongs_the_whole_time(speak):
    with speaking(speak) as url:
        begun = time.monotonic()
        with pytest.raises(Pipeline3dError) as caught:
            ask("GET", url, allowed_hosts=HOST, limits=QUICK)
        assert time.monotonic() - begun < 15  # it drips for twenty seconds
    assert caught.value.code in {"answer_too_slow", "address_unreachable", "answer_malformed"}


def say(*words: bytes) -> Callable[[socket.socket], None]:
    def speak(connection: socket.socket) -> None:
        for word in words:
            connection.sendall(word)

    return speak


@pytest.mark.parametrize(
    ("speak", "error", "code"),
    [
        (say(HEAD, b"Content-Length: 1001\r\n\r\n", b"x" * 1001), UnusableInput, "answer_too_large"),
        (say(HEAD, b"\r\n", b"x" * 100_000), UnusableInput, "answer_too_large"),
        (say(HEAD, b"a: " + b"b" * 500_000 + b"\r\n\r\n"), UnusableInput, "answer_malformed"),
        (say(HEAD, b"a: b\r\n" * 50_000 + b"\r\n"), UnusableInput, "answer_malformed"),
        (say(b"SSH-2.0-OpenSSH_9.6\r\n"), UnusableInput, "answer_malformed"),
        (say(b"\x16\x03\x01"), UnusableInput, "answer_malformed"),
        (say(HEAD, b"Content-Length: -1\r\n\r\n"), UnusableInput, "answer_malformed"),
        (say(HEAD, b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc"), UnusableInput, "answer_malformed"),
        (say(HEAD, b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), UnusableInput, "answer_malformed"),
        (say(HEAD, b"Content-Length: 10\r\n\r\nabc"), UnusableInput, "answer_malformed"),
        (say(), UnusableInput, "answer_malformed"),
    ],
)
def test_an_answer_that_is_too_large_or_not_http_is_refused(speak, error, code):
    with speaking(speak) as url, pytest.raises(error) as caught:
        ask("GET", url, allowed_hosts=HOST, limits=QUICK)
    assert caught.value.code == code
    assert "SSH" not in str(caught.value)  # what the other side said stays its secret


def test_a_bomb_of_compression_stays_as_small_as_it_came():
    bomb = zlib.compress(bytes(900_000))
    headers = b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with speaking(say(HEAD, headers, bomb)) as url:
        assert ask("GET", url, allowed_hosts=HOST, limits=QUICK).body == bomb


def test_a_body_may_be_cut_where_only_its_beginning_counts():
    with speaking(say(HEAD, b"\r\n", b"x" * 100_000)) as url:
        answer = ask("POST", url, body=b"{}", allowed_hosts=HOST, limits=Limits(max_bytes=10, cut=True))
    assert (answer.status, answer.body) == (200, b"x" * 10)


def test_nobody_there_may_be_somebody_later():
    with speaking(say()) as url:
        pass
    with pytest.raises(TransientFailure) as caught:
        ask("GET", url, allowed_hosts=HOST)
    assert caught.value.code == "address_unreachable"


class Echoing(BaseHTTPRequestHandler):
    """Says what it was asked; redirects where the path says so."""

    def _answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        status, _, onwards = self.path[1:].partition("/")
        self.send_response(int(status))
        if onwards:
            self.send_header("Location", onwards)
        said = f"{self.command} {self.headers['host']} {self.headers['authorization']} {body!r}".encode()
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = _answer


@pytest.mark.parametrize("status", [200, 204, 301, 400, 404, 410, 500, 503])
def test_every_status_is_an_answer(status):
    with http_server(Echoing) as url:
        assert ask("GET", f"{url}/{status}", allowed_hosts=HOST).status == status


@pytest.mark.parametrize(
    ("status", "method", "said"),
    [(303, "POST", "GET"), (302, "POST", "GET"), (307, "POST", "POST"), (308, "PUT", "PUT")],
)
def test_a_redirect_keeps_the_method_or_not_as_its_status_says(status, method, said):
    with http_server(Echoing) as url:
        answer = ask(
            method, f"{url}/{status}//200", body=b"b", allowed_hosts=HOST, limits=Limits(redirects=1)
        )
    assert answer.body.startswith(said.encode())
    assert answer.body.endswith(repr(b"b" if said == method else b"").encode())


def test_a_redirect_to_another_place_does_not_take_the_credentials_along():
    secret = {"Authorization": "Bearer secret"}
    with http_server(Echoing) as one, http_server(Echoing) as two:
        same = ask(
            "GET", f"{one}/302/{one}/200", headers=secret, allowed_hosts=HOST, limits=Limits(redirects=1)
        )
        other = ask(
            "GET", f"{one}/302/{two}/200", headers=secret, allowed_hosts=HOST, limits=Limits(redirects=1)
        )
    assert b"Bearer secret" in same.body
    assert b"secret" not in other.body


def test_proxies_of_the_environment_are_ignored(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with http_server(Echoing) as url:
        assert ask("GET", f"{url}/200", allowed_hosts=HOST).status == 200


def certificate(folder: Path, name: str) -> Path:
    """A certificate for a name, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(issuer)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.mark.parametrize(
    ("name", "trusted", "code"),
    [
        ("shop.example.com", True, None),
        ("other.example.com", True, "certificate_invalid"),
        ("shop.example.com", False, "certificate_invalid"),
    ],
)
def test_the_certificate_is_that_of_the_name_though_the_connection_goes_to_the_address(
    tmp_path, monkeypatch, name, trusted, code
):
    file = certificate(tmp_path, name)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    trust = ssl.create_default_context(cafile=str(file) if trusted else None)

    def speak(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as behind:
            behind.recv(65536)
            behind.sendall(HEAD + b"Content-Length: 2\r\n\r\nok")

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError), listener.accept()[0] as connection:
            speak(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", port))])
    try:
        url = f"https://shop.example.com:{port}/"
        if code is None:
            assert ask("GET", url, allowed_hosts={"shop.example.com"}, ssl_context=trust).body == b"ok"
        else:
            with pytest.raises(UnusableInput) as caught:
                ask("GET", url, allowed_hosts={"shop.example.com"}, ssl_context=trust)
            assert caught.value.code == code
    finally:
        listener.close()
        thread.join(5)
