"""The way of GET /jobs/{id} past the choice of a route: it is asked a thousand times as often as the rest.

All that every request goes through lies before it: the id of the request, limits of size, hosts, CORS and the
headers of security. What lies behind is only the framework's search for the route, a tenth of the request's
time. The documented route answers the same, and a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline3d.api.documents import answer_with_job
from pipeline3d.api.routing import API_PREFIX

_METHODS = frozenset({"GET", "HEAD"})
_JOB = re.compile(
    rf"{API_PREFIX}/jobs/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})/?", re.IGNORECASE
)


class JobShortcut:
    """Answers for one job; leaves every other request to the application. The innermost middleware."""

    def __init__(self, app: ASGIApp, handlers: Mapping[Any, Callable[..., Any]]) -> None:
        """`handlers` are those of the application: they tell each refusal."""
        self._app = app
        # as the framework does: what is not expected is answered further out
        expected = {
            kind: handler
            for kind, handler in handlers.items()
            if kind not in (Exception, HTTPStatus.INTERNAL_SERVER_ERROR)
        }
        self._answer = ExceptionMiddleware(_answer, handlers=expected)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        is_plain = scope["type"] == "http" and scope["method"] in _METHODS
        found = _JOB.fullmatch(scope["path"]) if is_plain else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["path_params"] = {"job_id": UUID(found[1])}
        await self._answer(scope, receive, send)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    response = await answer_with_job(Request(scope, receive))
    await response(scope, receive, send)
