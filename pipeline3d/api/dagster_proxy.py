"""The way to Dagster's webservers, which know no users and are reached over this service alone.

What comes from a caller is passed on without what says who the caller is; what goes back sets no cookies
here. Both directions are streams. Who may pass is for the routes to say.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx
import websockets
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from websockets.asyncio.client import ClientConnection, connect

from pipeline3d.api.problems import build_problem
from pipeline3d.settings import Settings
from pipeline3d.values import Scope

logger = logging.getLogger("pipeline3d.api")

LOOPBACK = "127.0.0.1"
CONNECT_S = 3.0
ANSWER_WITHIN_S = 90.0
"""Longer than the statements of the webserver may take (`--db-statement-timeout`)."""
MOST_CONNECTIONS = 50
MOST_SUBSCRIPTIONS = 200
"""Open at a time in one process of the API: each page that somebody has open holds one."""
MAX_MESSAGE_BYTES = 8 << 20
"""Of a subscription: one batch of a run's log lines."""

PASSED_ON = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "if-modified-since", "if-none-match"}
    | {"if-range", "range", "user-agent", "x-request-id"}
)
"""What Dagster needs to know of a request. All else stays here, above all keys and cookies."""
KEPT_BACK = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"}
    | {"trailer", "transfer-encoding", "upgrade", "set-cookie", "server", "date", "alt-svc", "feature-policy"}
    | {"access-control-allow-origin", "access-control-allow-credentials", "strict-transport-security"}
)
"""What concerns one connection only, or is for this service to say."""
NEVER_SENT = frozenset({1005, 1006, 1015})
"""Codes that say how a connection ended without one (RFC 6455)."""
SUBPROTOCOLS = ("graphql-transport-ws", "graphql-ws")
PAGE_POLICY = "connect-src 'self'; form-action 'none'; frame-ancestors 'self'"
"""Added to what the webserver says of its page, which names neither."""
OTHER_POLICY = "default-src 'self'; frame-ancestors 'self'; sandbox"
"""Of pages for which the webserver says nothing: notebooks, which are somebody's HTML."""

_STEP_UP = re.compile(r"(?:^|/)\.{1,2}(?:/|$)|\\|%2f|%5c|%2e", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DagsterUi:
    """One webserver: its path here and there, the scope that opens it, and where it is."""

    name: str
    scope: Scope
    origin: str | None

    @property
    def path(self) -> str:
        """Where it is found: the same path here and at the webserver."""
        return f"/{self.name}"


def find_uis(settings: Settings) -> dict[str, DagsterUi]:
    """The webservers of an installation by their names."""
    lineage_port = settings.pipeline3d_lineage_port if settings.pipeline3d_lineage_ui else None
    return {
        "dagster": DagsterUi(
            name="dagster",
            scope=Scope.OPS,
            origin=_origin(settings.dagster_webserver_url, settings.pipeline3d_dagster_port),
        ),
        "lineage": DagsterUi(
            name="lineage",
            scope=Scope.LINEAGE_READ,
            origin=_origin(settings.lineage_webserver_url, lineage_port),
        ),
    }


def _origin(url: str | None, port: int | None) -> str | None:
    if url is not None:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}"
    return f"http://{LOOPBACK}:{port}" if port else None


def build_client() -> httpx.AsyncClient:
    """Connections to the webservers. Proxies of the environment are for other places.

    Everybody's requests go through it, so it keeps no cookies: one caller's would go along with another's.
    """
    return httpx.AsyncClient(
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
        timeout=httpx.Timeout(ANSWER_WITHIN_S, connect=CONNECT_S, pool=CONNECT_S),
        limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=10),
        follow_redirects=False,
        trust_env=False,
    )


def is_plain_path(raw_path: bytes) -> bool:
    """Whether a path names what it says: no steps up, no encoded or backward slashes."""
    return not _STEP_UP.search(raw_path.decode("latin-1"))


async def forward(client: httpx.AsyncClient, ui: DagsterUi, request: Request) -> Response:
    """The webserver's answer to a request, streamed; a problem document where it is away or too slow."""
    if ui.origin is None:
        return _away(ui)
    path = request.scope.get("raw_path") or request.url.path.encode()
    query = request.scope["query_string"]
    target = httpx.URL(ui.origin).copy_with(raw_path=path + (b"?" + query if query else b""))
    sent = [(name, value) for name, value in request.headers.items() if name in PASSED_ON]
    body = request.stream() if request.method not in ("GET", "HEAD") else None
    try:
        answer = await client.send(
            client.build_request(request.method, target, headers=sent, content=body), stream=True
        )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
        return _away(ui)
    except httpx.TimeoutException:
        return _too_slow(ui)
    except httpx.TransportError as error:
        logger.warning("The webserver of /%s broke off: %s", ui.name, type(error).__name__)
        return _away(ui)
    response = StreamingResponse(_stream(answer, ui), status_code=answer.status_code)
    response.raw_headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in _headers_back(answer.headers.multi_items(), ui)
    ]
    return response


async def _stream(answer: httpx.Response, ui: DagsterUi) -> AsyncIterator[bytes]:
    """The body as it comes. What breaks off there breaks off here, so that nobody takes it for all."""
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx.TransportError as error:
        logger.warning("An answer of /%s broke off: %s", ui.name, type(error).__name__)
        raise
    finally:
        await answer.aclose()


def _headers_back(headers: Iterable[tuple[str, str]], ui: DagsterUi) -> list[tuple[str, str]]:
    back = []
    has_policy = False
    is_page = False
    for name, value in headers:
        name = name.lower()
        if name in KEPT_BACK:
            continue
        if name == "location":
            value = value.removeprefix(ui.origin or "")
            if not value.startswith("/") or value.startswith("//"):
                continue
        if name == "content-security-policy":
            has_policy = True
            value = f"{value.rstrip().rstrip(';')}; {PAGE_POLICY}"
        is_page = is_page or (name == "content-type" and "html" in value)
        back.append((name, value))
    if not has_policy:
        # Scripts and workers are held by the policy of their page.
        back.append(("content-security-policy", OTHER_POLICY if is_page else "frame-ancestors 'self'"))
    return back


def _away(ui: DagsterUi) -> Response:
    return build_problem(
        HTTPStatus.BAD_GATEWAY,
        "dagster_unavailable",
        f"The Dagster UI of /{ui.name} does not run, or does not answer.",
        hint="`pipeline3d doctor` says what is missing.",
        headers={"Retry-After": "5"},
    )


def _too_slow(ui: DagsterUi) -> Response:
    return build_problem(
        HTTPStatus.GATEWAY_TIMEOUT,
        "dagster_too_slow",
        f"The Dagster UI of /{ui.name} did not answer within {ANSWER_WITHIN_S:.0f} s.",
    )


# --- subscriptions


async def forward_socket(ui: DagsterUi, socket: WebSocket) -> None:
    """Pass messages of a subscription both ways until either side ends. The caller has been let in."""
    offered = [name for name in socket.scope.get("subprotocols", ()) if name in SUBPROTOCOLS]
    if ui.origin is None or not offered:
        await socket.close(1011 if offered else 1002)
        return
    try:
        async with connect(
            f"ws{ui.origin.removeprefix('http')}{ui.path}/graphql",
            subprotocols=[websockets.Subprotocol(name) for name in offered],
            open_timeout=CONNECT_S,
            max_size=MAX_MESSAGE_BYTES,
            proxy=None,
        ) as other:
            await socket.accept(other.subprotocol)
            await _pass_both_ways(socket, other)
    except (OSError, websockets.WebSocketException) as error:
        logger.warning("A subscription of /%s ended: %s", ui.name, type(error).__name__)
    finally:
        if socket.application_state is not WebSocketState.DISCONNECTED:
            with suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(1011)


async def _pass_both_ways(socket: WebSocket, other: ClientConnection) -> None:
    tasks = [asyncio.create_task(_pass_there(socket, other)), asyncio.create_task(_pass_back(socket, other))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled() and (error := task.exception()):
            raise error


async def _pass_there(socket: WebSocket, other: ClientConnection) -> None:
    with suppress(WebSocketDisconnect, websockets.ConnectionClosed):
        while True:
            await other.send(await socket.receive_text())


async def _pass_back(socket: WebSocket, other: ClientConnection) -> None:
    with suppress(websockets.ConnectionClosedError):  # an end that has a reason: the code goes on
        async for message in other:
            if isinstance(message, str):
                await socket.send_text(message)
            else:
                await socket.send_bytes(message)
    code = other.close_code or 1000
    await socket.close(1011 if code in NEVER_SENT else code)
