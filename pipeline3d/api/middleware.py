"""What every request goes through: an id, a limit on its body, and an answer even where the code fails."""

from __future__ import annotations

import logging
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline3d.api.problems import build_problem, unexpected_problem

logger = logging.getLogger("pipeline3d.api")

MAX_BODY_BYTES = 1 << 20
"""Files go to the object store; a body holds parameters."""

_TOO_LARGE = f"A body has at most {MAX_BODY_BYTES} bytes; files are uploaded with a ticket."


class RequestGuard:
    """Gives each request an id, refuses bodies that are too large and answers unexpected failures."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        answered = False

        async def send_with_id(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        length = Headers(scope=scope).get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            refusal = build_problem(413, "body_too_large", _TOO_LARGE)
            await refusal(scope, receive, send_with_id)
            return
        try:
            await self._app(scope, _limited(receive), send_with_id)
        except Exception:
            logger.exception("request %s: %s %s failed", request_id, scope["method"], scope["path"])
            if answered:
                raise
            await unexpected_problem(request_id)(scope, receive, send_with_id)


def _limited(receive: Receive) -> Receive:
    """Count what comes, for bodies that do not say their length."""
    received = 0

    async def receive_counting() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return receive_counting
