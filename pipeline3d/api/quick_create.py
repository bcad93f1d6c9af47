"""Asking for one job, without the framework's work on each request; any that is not plain goes through that.

Reading a request by its description takes the framework longer than storing the job does. What is usual, JSON
that is a whole `JobCreate`, is therefore read here; everything else is left to the documented route, with the
body that was read: what it answers, and each of its refusals, is then the framework's. The steps, and their
order, are the same, and a test holds the two together.
"""

from __future__ import annotations

import json

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from pipeline3d.api.auth import check_scope, require_account
from pipeline3d.api.bodies import JobCreate
from pipeline3d.api.compatibility import FORMS, CompatibleRoute, present_answer
from pipeline3d.api.creating import create_or_estimate
from pipeline3d.api.services import Services
from pipeline3d.values import Scope as Permission

_JSON = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})


class QuickCreateRoute(CompatibleRoute):
    """The route of `create_job`, which answers a plain request at once."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        if scope["method"] != "POST" or request.headers.get("content-type", "").lower() not in _JSON:
            await self.hand_over(scope, receive, send)
            return
        try:
            sent = await request.body()
        except ClientDisconnect:
            return  # nobody is left to be answered
        body = read_plain(sent)
        if body is None:
            await self.hand_over(scope, _giving(sent, receive), send)
            return
        answer = await self.answer(request, body)
        await answer(scope, receive, send)

    async def answer(self, request: Request, body: JobCreate) -> Response:
        """What the documented route answers to this body."""
        services: Services = request.app.state.services
        given = Response()
        account = await require_account(request, services, given, None)
        check_scope(account, Permission.JOBS_WRITE)
        headers = request.headers
        answer = await create_or_estimate(
            services, account, body, headers.get("idempotency-key"), headers.get("prefer"), given
        )
        present = FORMS.get(account.compatibility or "")
        return answer if present is None else present_answer(answer, present)

    async def hand_over(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the framework answer."""
        await super().handle(scope, receive, send)


def read_plain(sent: bytes) -> JobCreate | None:
    """A body as the framework reads it; None where that has something to refuse."""
    try:
        return JobCreate.model_validate(json.loads(sent))
    except (ValueError, ValidationError, RecursionError):
        return None


def _giving(sent: bytes, receive: Receive) -> Receive:
    """What brings a body that was read already, and then whatever comes."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": sent, "more_body": False}

    return receive_again
