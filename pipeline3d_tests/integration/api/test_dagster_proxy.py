"""The way to Dagster's webservers: who may pass, what goes along, and what happens when they are away."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from pipeline3d.api import dagster_access
from pipeline3d.database.tables import users
from pipeline3d.values import Role
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.integration.requests.database_fixtures import (
    API_KEY,
    OTHER_API_KEY,
    PASSWORD,
    USERNAME,
)
from pipeline3d_tests.servers import wait_until

ADMIN = {"x-api-key": API_KEY}
OTHER = {"x-api-key": OTHER_API_KEY}
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}


@dataclass
class Webserver:
    """Stands for Dagster's: says what it was asked, as Dagster's does where that matters here."""

    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def echo(self, request: Request) -> Response:
        body = await request.body()
        said = {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "headers": dict(request.headers),
            "body": body.decode(),
        }
        self.asked.append(said)
        headers = {"set-cookie": "theirs=1", "x-dagster-call-counts": "{}", "server": "theirs"}
        return JSONResponse(said, headers=headers)

    async def page(self, request: Request) -> Response:
        policy = "base-uri 'none'; script-src 'nonce-1';"
        return HTMLResponse(
            "<html>", headers={"content-security-policy": policy, "cache-control": "no-store"}
        )

    async def notebook(self, request: Request) -> Response:
        return HTMLResponse("<script>fetch('/api/v1/keys')</script>")

    async def forward(self, request: Request) -> Response:
        places = {"own": f"http://127.0.0.1:{self.port}/dagster/", "other": "http://evil.example.com/"}
        return RedirectResponse(places[request.path_params["place"]])

    async def large(self, request: Request) -> Response:
        async def chunks() -> Any:
            for _ in range(64):
                yield b"x" * 65536

        return StreamingResponse(chunks(), media_type="text/plain")

    async def subscribe(self, socket: WebSocket) -> None:
        self.asked.append({"headers": dict(socket.headers), "path": socket.url.path})
        await socket.accept(socket.scope["subprotocols"][0])
        async for message in socket.iter_text():
            if message == "leave":
                await socket.close(4400)
                return
            await socket.send_text(f"you said {message}")

    def build(self) -> Starlette:
        routes: list[Any] = [
            Route("/dagster/page", self.page),
            Route("/dagster/notebook", self.notebook),
            Route("/dagster/forward/{place}", self.forward),
            Route("/dagster/large", self.large),
        ]
        for name in ("dagster", "lineage"):
            routes.append(WebSocketRoute(f"/{name}/graphql", self.subscribe))
            routes.append(Route(f"/{name}", self.echo, methods=["GET"]))
            routes.append(Route(f"/{name}/{{path:path}}", self.echo, methods=["GET", "POST"]))
        return Starlette(routes=routes)


@pytest.fixture(scope="module")
def running_webserver() -> Iterator[Webserver]:
    webserver = Webserver()
    server = uvicorn.Server(uvicorn.Config(webserver.build(), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, what="the webserver listens", interval_s=0.005)
    webserver.port = server.servers[0].sockets[0].getsockname()[1]
    yield webserver
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def proxying_url(api_settings: dict[str, Any], running_webserver: Webserver) -> Iterator[str]:
    origin = f"http://127.0.0.1:{running_webserver.port}"
    with serving(
        {**api_settings, "dagster_webserver_url": origin, "lineage_webserver_url": f"{origin}/lineage"}
    ) as url:
        yield url


@pytest.fixture
def webserver(running_webserver: Webserver) -> Webserver:
    running_webserver.asked.clear()
    return running_webserver


@pytest.fixture
def http(proxying_url: str, rows: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxying_url, timeout=30) as client:
        yield client


@pytest.fixture
def signed_in(http: httpx.Client) -> httpx.Client:
    answer = http.post("/api/v1/auth/session", json={"username": USERNAME, "password": PASSWORD})
    assert answer.status_code == 200
    return http


def test_a_request_goes_there_without_what_says_who_asks(http, webserver):
    sent = {
        **ADMIN,
        "authorization": "Bearer secret",
        "cookie": "p3d_session=secret; theirs=1",
        "x-forwarded-for": "10.0.0.1",
        "idempotency-key": "secret",
        "accept": "application/json",
        "content-type": "application/json",
    }
    answer = http.post("/dagster/graphql?a=b%20c", json={"query": "{ version }"}, headers=sent)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["method"], said["path"], said["query"]) == ("POST", "/dagster/graphql", "a=b%20c")
    assert json.loads(said["body"]) == {"query": "{ version }"}
    assert said["headers"]["host"] == f"127.0.0.1:{webserver.port}"
    assert "secret" not in json.dumps(said["headers"])
    assert not {"cookie", "authorization", "x-api-key", "x-forwarded-for"} & set(said["headers"])


def test_a_cookie_of_one_answer_does_not_go_along_with_the_next_request(http):
    for _ in range(2):
        said = http.get("/dagster/anything", headers=ADMIN).json()
        assert "cookie" not in said["headers"]


def test_an_answer_comes_back_without_what_is_this_services_to_say(http, webserver):
    answer = http.get("/dagster/anything", headers=ADMIN)
    assert "set-cookie" not in answer.headers
    assert "theirs" not in answer.headers.get("server", "")
    assert answer.headers["x-dagster-call-counts"] == "{}"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_keeps_its_policy_and_nobody_else_may_frame_it(http, webserver):
    page = http.get("/dagster/page", headers=ADMIN).headers["content-security-policy"]
    assert page.startswith("base-uri 'none'; script-src 'nonce-1'; ")
    assert "frame-ancestors 'self'" in page
    assert "sandbox" in http.get("/dagster/notebook", headers=ADMIN).headers["content-security-policy"]


def test_a_redirect_stays_here(http, webserver):
    assert http.get("/dagster/forward/own", headers=ADMIN).headers["location"] == "/dagster/"
    assert "location" not in http.get("/dagster/forward/other", headers=ADMIN).headers


def test_a_long_answer_is_streamed(http, webserver):
    with http.stream("GET", "/dagster/large", headers=ADMIN) as answer:
        assert sum(len(chunk) for chunk in answer.iter_raw()) == 64 * 65536


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/dagster", {}, 401, "not_authenticated"),
        ("/dagster/graphql", {}, 401, "not_authenticated"),
        ("/lineage/anything", {}, 401, "not_authenticated"),
        ("/dagster/", {"x-api-key": "p3d_unknown"}, 403, "invalid_api_key"),
        ("/dagster/", OTHER, 403, "missing_scope"),
        ("/lineage/", OTHER, 403, "missing_scope"),
        ("/dagster/logs/%2e%2e/%2e%2e/etc/passwd", ADMIN, 400, "bad_path"),
        ("/dagster/logs/..%2f..%2fetc/passwd", ADMIN, 400, "bad_path"),
        ("/dagster/logs/a\\..\\b", ADMIN, 400, "bad_path"),
    ],
)
def test_whoever_may_not_pass_does_not(http, webserver, path, headers, status, code):
    answer = http.get(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert webserver.asked == []


@pytest.mark.parametrize(
    ("role", "ops", "lineage"),
    [
        (Role.MEMBER, 403, 403),
        (Role.ANALYST, 403, 200),
        (Role.OPERATOR, 200, 200),
        (Role.ADMIN, 200, 200),
    ],
)
def test_operators_may_change_and_analysts_look(http, webserver, rows, role, ops, lineage):
    def become(role: Role, *statuses: int) -> None:
        def is_answered_so() -> bool:
            answers = [http.get(f"/{ui}/", headers=ADMIN).status_code for ui in ("dagster", "lineage")]
            return answers == list(statuses)

        rows.run(users.update().where(users.c.username == USERNAME).values(role=role.value))
        wait_until(is_answered_so, what=f"the API knows that its caller is {role}")

    try:
        become(role, ops, lineage)
    finally:
        become(Role.ADMIN, 200, 200)  # the next test is the administrator again


def test_a_person_without_a_session_signs_in_first(http, webserver):
    answer = http.get("/dagster/assets?view=x", headers={"accept": "text/html,*/*"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/studio?next=%2Fdagster%2Fassets%3Fview%3Dx"
    assert webserver.asked == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/dagster/assets", {"sec-fetch-site": "cross-site"}, 200),  # a link from elsewhere
        ("POST", "/dagster/graphql", SAME_ORIGIN, 200),
        ("POST", "/dagster/graphql", {"sec-fetch-site": "same-site"}, 403),
        ("POST", "/dagster/graphql", {"sec-fetch-site": "cross-site"}, 403),
        ("POST", "/dagster/graphql", {"origin": "https://evil.example.com"}, 403),
        ("POST", "/dagster/graphql", {"origin": "null"}, 403),
        ("POST", "/dagster/graphql", {}, 403),  # no browser, and so no session
        ("GET", "/dagster/graphql?query=mutation", {"sec-fetch-site": "cross-site"}, 403),
        ("GET", "/dagster/graphql/?query=mutation", {"sec-fetch-site": "none"}, 403),
        ("POST", "/dagster/report_asset_materialization/a", {"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_another_site_changes_nothing_with_a_persons_session(
    signed_in, webserver, method, path, headers, status
):
    answer = signed_in.request(method, path, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "csrf_failed"
        assert webserver.asked == []


def test_a_webserver_that_is_away_is_said(api_settings, rows):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with serving({**api_settings, "dagster_webserver_url": gone}) as url:
            answer = httpx.get(f"{url}/dagster/", headers=ADMIN)
            nowhere = httpx.get(f"{url}/lineage/", headers=ADMIN)  # left out of this installation
            with pytest.raises(InvalidStatus), subscription(url, ADMIN):
                pass
    for said in (answer, nowhere):
        assert (said.status_code, said.json()["code"]) == (502, "dagster_unavailable")
    assert gone not in answer.text


def test_a_webserver_that_says_nothing_is_given_up(api_settings, rows, monkeypatch):
    monkeypatch.setattr("pipeline3d.api.dagster_proxy.ANSWER_WITHIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with serving({**api_settings, "dagster_webserver_url": origin}) as url:
            answer = httpx.get(f"{url}/dagster/", headers=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (504, "dagster_too_slow")


def test_a_body_that_is_too_large_stays_here(http, webserver):
    answer = http.post("/dagster/graphql", content=b"x" * ((1 << 20) + 1), headers=ADMIN)
    assert answer.status_code == 413
    assert webserver.asked == []


# --- subscriptions


def subscription(url: str, headers: dict[str, str], ui: str = "dagster", **options: Any) -> Any:
    return connect(
        f"{url.replace('http', 'ws', 1)}/{ui}/graphql",
        additional_headers=headers,
        subprotocols=options.pop("subprotocols", ["graphql-ws"]),
        proxy=None,
        **options,
    )


def session_of(client: httpx.Client) -> dict[str, str]:
    return {"cookie": f"p3d_session={client.cookies['p3d_session']}"}


@pytest.mark.parametrize("ui", ["dagster", "lineage"])
def test_messages_go_both_ways(http, proxying_url, webserver, ui):
    with subscription(proxying_url, ADMIN, ui) as socket:
        assert socket.subprotocol == "graphql-ws"
        for number in range(3):
            socket.send(f"message {number}")
            assert socket.recv(timeout=60) == f"you said message {number}"
    [asked] = webserver.asked
    assert asked["path"] == f"/{ui}/graphql"
    assert "x-api-key" not in asked["headers"]
    assert "cookie" not in asked["headers"]


def test_the_end_of_either_side_is_the_end_of_the_other(http, proxying_url, webserver):
    with subscription(proxying_url, ADMIN) as socket:
        socket.send("leave")
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=60)
    assert caught.value.rcvd.code == 4400


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [({"origin": "same"}, True), ({"origin": "https://evil.example.com"}, False), ({}, False)],
)
def test_a_session_subscribes_from_a_page_of_this_service_alone(
    signed_in, proxying_url, webserver, headers, let_in
):
    sent = {name: proxying_url if value == "same" else value for name, value in headers.items()}
    sent |= session_of(signed_in)
    if let_in:
        with subscription(proxying_url, sent) as socket:
            socket.send("hello")
            assert socket.recv(timeout=60) == "you said hello"
    else:
        with pytest.raises(InvalidStatus) as caught, subscription(proxying_url, sent):
            pass
        assert caught.value.response.status_code == 403
        assert webserver.asked == []


@pytest.mark.parametrize("headers", [{}, OTHER, {"x-api-key": "p3d_unknown"}])
def test_whoever_may_not_pass_subscribes_to_nothing(http, proxying_url, webserver, headers):
    with pytest.raises(InvalidStatus) as caught, subscription(proxying_url, headers):
        pass
    assert caught.value.response.status_code == 403
    assert webserver.asked == []


def test_a_subscription_ends_soon_after_its_session(signed_in, proxying_url, webserver, monkeypatch):
    monkeypatch.setattr(dagster_access, "LOOK_AGAIN_S", 0.05)
    sent = {"origin": proxying_url, **session_of(signed_in)}
    with subscription(proxying_url, sent) as socket:
        socket.send("hello")
        assert socket.recv(timeout=60) == "you said hello"
        token = signed_in.get("/api/v1/auth/session").json()["csrf_token"]
        ended = signed_in.delete("/api/v1/auth/session", headers={"x-csrf-token": token, **SAME_ORIGIN})
        assert ended.status_code == 204
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)


def test_there_are_not_more_subscriptions_than_places(api_settings, running_webserver, rows, monkeypatch):
    monkeypatch.setattr("pipeline3d.api.dagster_proxy.MOST_SUBSCRIPTIONS", 1)
    origin = f"http://127.0.0.1:{running_webserver.port}"
    with serving({**api_settings, "dagster_webserver_url": origin}) as url:
        with subscription(url, ADMIN) as first:
            first.send("hello")
            assert first.recv(timeout=60) == "you said hello"
            with pytest.raises(InvalidStatus), subscription(url, ADMIN):
                pass

        def there_is_a_place_again() -> bool:
            try:
                with subscription(url, ADMIN):
                    return True
            except InvalidStatus:
                return False

        wait_until(there_is_a_place_again, what="the place of the first")
