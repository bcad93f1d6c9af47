"""Errors as an earlier system's callers read them, for the routes of that system alone.

They are our problem documents with that system's members beside ours, so that its callers and ours both
understand them. Only the status of a wrong body may differ, where that system's callers know another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError

from pipeline3d.api import problems
from pipeline3d.api.routing import EitherSlashRoute
from pipeline3d.errors import RequestError, TransientFailure

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def answering_errors_with(
    members: Callable[[Mapping[str, Any]], dict[str, Any]],
    statuses: Mapping[int, int] | None = None,
    *,
    challenge: str | None = None,
) -> type[EitherSlashRoute]:
    """A class of routes whose problems have these members too.

    `statuses` replaces some of ours by theirs, `challenge` what a 401 says of how to sign in.
    """
    theirs = statuses or {}

    class PredecessorRoute(EitherSlashRoute):
        """Answers errors as an earlier system did."""

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    return await handle(request)
                except (RequestError, TransientFailure, RequestValidationError) as error:
                    ours = _refuse(request, error)
                problem = json.loads(bytes(ours.body))
                status = theirs.get(ours.status_code, ours.status_code)
                problem |= {"status": status, "title": HTTPStatus(status).phrase}
                kept = {name: value for name, value in ours.headers.items() if name not in _OF_THE_BODY}
                if challenge is not None and status == HTTPStatus.UNAUTHORIZED:
                    kept["www-authenticate"] = challenge
                return problems.ProblemResponse(problem | members(problem), status, kept)

            return answer

    return PredecessorRoute


_OF_THE_BODY = frozenset({"content-length", "content-type"})


def _refuse(request: Request, error: Exception) -> Response:
    """What our own routes would answer."""
    if isinstance(error, RequestError):
        return problems.request_error_problem(request, error)
    if isinstance(error, TransientFailure):
        return problems.transient_problem(request, error)
    return problems.validation_problem(request, error)
