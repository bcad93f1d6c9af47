"""What every request goes through before any route, and what every answer says to browsers."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import time

import anyio
import httpx
import pytest
from starlette.responses import PlainTextResponse

from pipeline3d.api import middleware
from pipeline3d.api.security_headers import SecurityHeaders, documentation_policy
from pipeline3d.settings import Settings
from pipeline3d_tests.integration.api.api_fixtures import JOBS, ORIGIN, serving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY

KEY = {"x-api-key": API_KEY}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/health", {}, 200),
        ("GET", f"{JOBS}/", KEY, 200),
        ("GET", f"{JOBS}/", {}, 401),
        ("GET", "/no/such/path", {}, 404),
        ("DELETE", "/health", {}, 405),
        ("POST", f"{JOBS}/", KEY, 422),
        ("GET", "/static/studio.js", {}, 200),
        ("GET", "/studio", {}, 200),
        ("OPTIONS", f"{JOBS}/", {"origin": ORIGIN, "access-control-request-method": "POST"}, 200),
        ("GET", f"/{'a' * 3000}", {}, 414),
    ],
)
def test_every_answer_tells_browsers_what_not_to_do(api_url, rows, method, path, headers, status):
    answer = httpx.request(method, api_url + path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "strict-transport-security" not in answer.headers  # these came without TLS
    assert "x-request-id" in answer.headers or method == "OPTIONS"


@pytest.mark.parametrize("path", ["/previews/x/y/z.png", "/s/x/z.png"])
def test_what_signed_links_show_may_be_shown_on_other_peoples_pages(api_url, path):
    assert httpx.get(api_url + path).headers["cross-origin-resource-policy"] == "cross-origin"


def test_what_a_key_opens_is_kept_by_no_cache(api, api_url):
    assert api.http.get(f"{JOBS}/").headers["cache-control"] == "no-store"
    assert "no-store" not in httpx.get(f"{api_url}/api/v1/models").headers.get("cache-control", "")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_runs_its_own_scripts_and_no_others(api_url, path):
    page = httpx.get(api_url + path)
    policy = page.headers["content-security-policy"]
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert scripts is not None
    assert "unsafe" not in scripts[1]
    for inline in re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in scripts[1]


def test_a_script_with_a_source_needs_no_hash():
    assert "sha256" not in documentation_policy(b'<script src="/a.js"></script>')


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, {"": False, "https": False}),  # anybody can say that
        ({"trusted_proxies": ["127.0.0.1"]}, {"": False, "https": True, "http": False}),
        ({"trusted_proxies": ["127.0.0.1"], "hsts_max_age_s": 0}, {"https": False}),
        ({"api_url": "https://3d.example.com"}, {"": True}),
    ],
)
def test_browsers_are_bound_to_tls_where_they_came_by_it(api_settings, settings, told):
    async def hello(scope, receive, send):
        await PlainTextResponse("hello")(scope, receive, send)

    app = SecurityHeaders(hello, Settings(_env_file=None, **{**api_settings, **settings}))

    async def ask(scheme: str) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            return await http.get("/", headers={"x-forwarded-proto": scheme} if scheme else {})

    for scheme, expected in told.items():
        answer = anyio.run(ask, scheme)
        assert ("max-age=31536000" in answer.headers.get("strict-transport-security", "")) is expected


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0123456789abcdef", True),
        ("req-1.2_3-abc", True),
        ("short", False),
        ("x" * 65, False),
        ("a blank in it", False),
        ("<script>alert(1)</script>", False),
        ("ü" * 10, False),
    ],
)
def test_an_id_of_a_request_is_kept_where_it_is_one(api_url, sent, kept):
    answer = httpx.get(f"{api_url}/health", headers={b"x-request-id": sent.encode()})
    assert (answer.headers["x-request-id"] == sent) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        ({"url": "/health?" + "a" * 9000}, 414, "address_too_long"),
        ({"url": "/" + "%61" * 1000}, 414, "address_too_long"),
        ({"url": "/health", "headers": [(f"x-{n}", "1") for n in range(150)]}, 431, "headers_too_large"),
        ({"url": "/health", "headers": [("x-a", "1" * 40_000)]}, 431, "headers_too_large"),
    ],
)
def test_what_is_larger_than_any_request_of_ours_is_refused(api_url, request_of, status, code):
    with httpx.Client(base_url=api_url) as http:
        answer = http.get(request_of["url"], headers=request_of.get("headers"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_that_does_not_come_is_not_waited_for(api_url, rows, monkeypatch):
    monkeypatch.setattr(middleware, "BODY_WITHIN_S", 0.3)
    host, _, port = api_url.removeprefix("http://").partition(":")
    head = f"POST {JOBS}/ HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as slow:
        slow.sendall(f"{head}Content-Length: 100\r\n\r\n".encode())
        began = time.monotonic()
        slow.sendall(b"{")
        answer = slow.recv(4096)
    assert b" 408 " in answer.splitlines()[0]
    assert 0.2 < time.monotonic() - began < 20  # of thirty seconds


def test_a_body_that_drips_is_not_waited_for_either(api_url, rows, monkeypatch):
    monkeypatch.setattr(middleware, "BODY_WITHIN_S", 0.3)
    host, _, port = api_url.removeprefix("http://").partition(":")
    head = f"POST {JOBS}/ HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=0.02) as slow:
        slow.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
        answer, deadline = b"", time.monotonic() + 20
        while not answer and time.monotonic() < deadline:
            slow.sendall(b" ")
            try:
                answer = slow.recv(4096)
            except TimeoutError:
                continue
    assert b" 408 " in answer.splitlines()[0]


@pytest.fixture(scope="module")
def named_url(api_settings):
    with serving({**api_settings, "api_hosts": ["3d.example.com"]}) as url:
        yield url


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("3d.example.com", "/", 200),
        ("3D.Example.com:8443", "/", 200),
        ("3d.example.com.", "/", 200),
        ("evil.example.com", "/", 400),
        ("127.0.0.1", "/", 400),
        ("127.0.0.1", "/health", 200),  # a probe
        ("127.0.0.1", "/health/", 200),
        ("3d.example.com@evil", "/", 400),
    ],
)
def test_the_api_answers_under_its_own_names_where_it_was_told_them(named_url, host, path, status):
    assert httpx.get(named_url + path, headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("http://127.0.0.1/a.png", "address_forbidden"),
        ("http://2130706433/a.png", "address_forbidden"),
        ("http://[::ffff:10.0.0.1]/a.png", "address_forbidden"),
        ("http://metadata.google.internal/a.png", "address_forbidden"),
        ("http://postgres/a.png", "address_forbidden"),
        ("https://example.com:5432/a.png", "address_forbidden"),
        ("https://user:topsecret@example.com/a.png", "address_invalid"),
        ("https://exa mple.com/a.png", "address_invalid"),
    ],
)
def test_no_job_is_made_for_an_address_that_may_not_be_visited(api, address, code):
    product = {"shop": "a.example.com", "product_id": "1", "image_urls": [address]}
    photos = api.create(model_id="product-inflate-v1", input_params=product)
    webhook = api.create(webhook_url=address)
    for answer in (photos, webhook):
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert "topsecret" not in answer.json()["detail"]
    assert api.http.get(f"{JOBS}/").json() == []
