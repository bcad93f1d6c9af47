"""What every request goes through: an id, limits on its size and on its time, and an answer even where the
code fails."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from secrets import token_hex
from time import monotonic
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline3d.api.problems import ProblemResponse, build_problem, unexpected_problem
from pipeline3d.settings import Settings

logger = logging.getLogger("pipeline3d.api")

MAX_BODY_BYTES = 1 << 20
"""Files go to the object store; a body holds parameters."""
MAX_PATH_BYTES = 2048
MAX_QUERY_BYTES = 8192
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
BODY_WITHIN_S = 30.0
"""So long a body may take to come …"""
LEAST_BYTES_PER_S = 32 * 1024
"""… and longer while it comes at this rate."""
ALWAYS_ANSWERED = frozenset({"/health", "/ready", "/api/v1/health"})
"""Probes come under whatever name or number their sender knows."""

_SHARE_TOKEN = re.compile(r"^(/s/)[^/]+")
_OWN_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class RequestGuard:
    """Gives each request an id, refuses what is too large, too slow or for another host, and answers
    unexpected failures."""

    def __init__(
        self, app: ASGIApp, settings: Settings, larger_bodies: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._larger_bodies = dict(larger_bodies or {})
        self._hosts = frozenset(settings.api_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])  # a thousand times a second: no classes around them
        request_id = choose_request_id(headers.get(b"x-request-id", b""))
        scope.setdefault("state", {})["request_id"] = request_id
        answered = False

        async def send_with_id(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        limit = body_limit(scope, self._larger_bodies)
        refusal = self._refuse_host(scope, headers) or refuse_size(scope) or _refuse_length(headers, limit)
        if refusal is not None:
            await refusal(scope, receive, send_with_id)
            return
        try:
            has_body = b"content-length" in headers or b"transfer-encoding" in headers
            await self._app(scope, _limited(receive, limit) if has_body else receive, send_with_id)
        except Exception:
            logger.exception(
                "request %s: %s %s failed", request_id, scope["method"], loggable_path(scope["path"])
            )
            if answered:
                raise
            await unexpected_problem(request_id)(scope, receive, send_with_id)

    def _refuse_host(self, scope: Scope, headers: Mapping[bytes, bytes]) -> ProblemResponse | None:
        if not self._hosts or scope["path"].rstrip("/") in ALWAYS_ANSWERED:
            return None
        if host_name(headers.get(b"host", b"").decode("latin-1")) in self._hosts:
            return None
        return build_problem(400, "unknown_host", "This service does not have the name that was asked for.")


def choose_request_id(sent: bytes) -> str:
    """The id that a caller or proxy gave, where it is one; it goes into logs."""
    return sent.decode() if _OWN_REQUEST_ID.fullmatch(sent) else token_hex(16)


def loggable_path(path: str) -> str:
    """A path as it may stand in a log: without the token of a share link, which is a secret."""
    return _SHARE_TOKEN.sub(r"\1…", path)


def host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def body_limit(scope: Scope, larger_bodies: Mapping[str, int]) -> int:
    """Bytes that the body of a request may have; paths that take more are named without a last slash."""
    larger = larger_bodies if scope["method"] == "POST" else {}
    return larger.get(scope["path"].rstrip("/"), MAX_BODY_BYTES)


def refuse_size(scope: Scope) -> ProblemResponse | None:
    """A problem where the address or the headers are larger than any of ours."""
    if len(scope.get("raw_path") or b"") > MAX_PATH_BYTES or len(scope["query_string"]) > MAX_QUERY_BYTES:
        return build_problem(
            414,
            "address_too_long",
            f"A path has at most {MAX_PATH_BYTES} bytes, a query at most {MAX_QUERY_BYTES}.",
        )
    sent = scope["headers"]
    if len(sent) > MAX_HEADERS or sum(len(name) + len(value) for name, value in sent) > MAX_HEADER_BYTES:
        return build_problem(
            431,
            "headers_too_large",
            f"A request has at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together.",
        )
    return None


def _refuse_length(headers: Mapping[bytes, bytes], limit: int) -> ProblemResponse | None:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and len(length) <= 18 and int(length) <= limit:
        return None
    return build_problem(413, "body_too_large", _too_large(limit))


def _too_large(limit: int) -> str:
    return f"A body has at most {limit} bytes; files are uploaded with a ticket."


def _limited(receive: Receive, limit: int) -> Receive:
    """Count what comes, for bodies that do not say their length, and wait as long as for an honest one."""
    received = 0
    complete = False
    began = monotonic()

    async def receive_counting() -> Message:
        nonlocal received, complete
        if complete:  # what comes now is that the caller leaves, whenever that is
            return await receive()
        try:
            async with asyncio.timeout(began + BODY_WITHIN_S + received / LEAST_BYTES_PER_S - monotonic()):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "The body did not come in time.") from None
        received += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if received > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return receive_counting
