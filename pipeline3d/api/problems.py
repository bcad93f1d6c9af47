"""Errors as answers: RFC 9457 problem documents, one handler for each branch of the error tree.

`detail` is always plain text, so that clients which read `{"detail": "..."}` keep working. No answer holds a
secret, a stack or a statement. This is the only place that knows which error has which status.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from pipeline3d import errors
from pipeline3d.database.engines import POOL_TIMEOUTS
from pipeline3d.requests.parameters import MOST_TOLD

logger = logging.getLogger("pipeline3d.api")

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 5

STATUS_BY_CODE: dict[str, int] = {
    "address_too_long": 414,
    "headers_too_large": 431,
    "request_timeout": 408,
    "dagster_unavailable": 502,
    "dagster_too_slow": 504,
    "invalid_api_key": 403,
    "inactive_user": 400,
    "not_retryable": 409,
    "not_changeable": 409,
    "job_in_use": 409,
    "no_result": 404,
    "unknown_key": 404,
    "key_ended": 409,
    "too_many_keys": 409,
    "unknown_user": 404,
    "user_exists": 409,
    "not_yourself": 409,
    "unknown_artifact": 404,
    "file_too_large": 413,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "unknown_batch": 404,
    "unknown_upload": 404,
    "not_uploaded": 409,
    "upload_changed": 409,
    "upload_in_use": 409,
    "upload_too_slow": 408,
    "ambiguous_artifact": 409,
    "unknown_share": 404,
    "too_many_shares": 409,
    "unknown_webhook": 404,
    "unknown_delivery": 404,
    "too_many_webhooks": 409,
    "webhook_disabled": 409,
}
"""Codes whose status differs from that of their class."""

STATUS_BY_ERROR: dict[type[errors.Pipeline3dError], int] = {
    errors.InvalidParameters: 422,
    errors.InvalidAddress: 422,
    errors.ForbiddenAddress: 422,
    errors.UnknownModel: 404,
    errors.ModelNotReady: 501,
    errors.UnknownJob: 404,
    errors.NotYours: 403,
    errors.NotAuthenticated: 401,
    errors.NotFinished: 400,
    errors.IdempotencyConflict: 409,
    errors.LimitReached: 429,
    errors.RequestError: 400,
}


_TYPE = re.compile(r"bool|(constrained-)?(int|float|str)|datetime|date|uuid|url|[a-z-]+\[.*\]", re.DOTALL)
"""What pydantic calls the types of a field that takes several."""

CODE_BY_STATUS = {413: "body_too_large"}
"""Refusals of the framework whose code is one of ours."""


METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")

LONGEST_FIELD = 200
"""Characters of the name of a field that nobody knows."""
TOLD = ("errors", "job_ids")
"""Details of errors that are members of their problems."""


class ProblemResponse(Response):
    """One problem document."""

    media_type = PROBLEM_TYPE

    def render(self, content: Any) -> bytes:
        # ASCII, because what a caller sent and is quoted back need not be encodable
        return json.dumps(content, ensure_ascii=True).encode()


def build_problem(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> ProblemResponse:
    """The answer for one problem. `code` is for programs, `detail` and `hint` are for people."""
    body = {
        "type": f"/problems/{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
        **more,
    }
    return ProblemResponse(body, status_code=status, headers=headers)


def status_of(error: errors.Pipeline3dError) -> int:
    """The HTTP status of an error that the caller can fix."""
    return status_of_class(type(error), error.code)


def status_of_class(kind: type[errors.Pipeline3dError], code: str) -> int:
    """The HTTP status of errors of a class with a code."""
    if code in STATUS_BY_CODE:
        return STATUS_BY_CODE[code]
    return next(STATUS_BY_ERROR[cls] for cls in kind.__mro__ if cls in STATUS_BY_ERROR)


def request_error_problem(_request: Request, error: Exception) -> Response:
    """The caller can fix it."""
    assert isinstance(error, errors.RequestError)
    more = {name: error.details[name] for name in TOLD if name in error.details}
    status = status_of(error)
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'ApiKey header="x-api-key"'
    if "retry_after_s" in error.details:
        headers["Retry-After"] = str(max(1, math.ceil(error.details["retry_after_s"])))
    headers |= error.details.get("headers", {})
    return build_problem(status, error.code, error.message, hint=error.hint, headers=headers, **more)


def transient_problem(_request: Request, error: Exception) -> Response:
    """Something that this service needs does not answer; the same request may work soon."""
    assert isinstance(error, errors.TransientFailure)
    logger.warning("%s", error)
    return _unavailable(error.code, error.message)


def pool_timeout_problem(_request: Request, error: Exception) -> Response:
    """No connection was free for too long."""
    logger.warning("No database connection became free: %s", type(error).__name__)
    return _unavailable(errors.DatabaseUnavailable.code, "The database is too busy.")


def permanent_problem(_request: Request, error: Exception) -> Response:
    """Something that should be there is missing or broken."""
    assert isinstance(error, errors.PermanentFailure)
    logger.error("%s", error)
    if error.code == "object_missing":
        return build_problem(HTTPStatus.NOT_FOUND, error.code, "The object is no longer in the store.")
    return build_problem(HTTPStatus.INTERNAL_SERVER_ERROR, error.code, error.message, hint=error.hint)


def http_problem(request: Request, error: Exception) -> Response:
    """What the framework refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    code = CODE_BY_STATUS.get(error.status_code, HTTPStatus(error.status_code).name.lower())
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of_path(request)) or headers.get("Allow", "")
    return build_problem(error.status_code, code, str(error.detail), headers=headers)


def _methods_of_path(request: Request) -> list[str]:
    """What the path of a request takes. The framework names only those of the first route that has it."""

    def takes(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if takes(method)]


def validation_problem(request: Request, error: Exception) -> Response:
    """A body, path or query that is not of the right form, with each field named."""
    assert isinstance(error, RequestValidationError)
    if _is_not_json(request, error):
        sent = request.headers.get("content-type", "")[:100]
        return build_problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            f"The body was sent as {sent!r}, which is not JSON." if sent else "The body has no Content-Type.",
            hint="Send JSON with Content-Type: application/json.",
        )
    # some: a body may hold tens of thousands of fields that nobody knows
    found = [_describe(problem) for problem in error.errors()[:MOST_TOLD]]
    detail = " ".join(f"{problem['field']}: {problem['message']}." for problem in found)
    return build_problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_request",
        detail,
        hint="See /docs for the form.",
        errors=found,
    )


def _is_not_json(request: Request, error: RequestValidationError) -> bool:
    """Whether a body was not read at all, for what its sender called it."""
    if "json" in request.headers.get("content-type", "").lower():
        return False
    return any(problem["loc"] == ("body",) and problem["type"] != "missing" for problem in error.errors())


def _describe(problem: Mapping[str, Any]) -> dict[str, str]:
    if problem["type"] == "json_invalid":
        position = problem["loc"][-1]
        return {"field": "body", "message": f"it is not JSON, from character {position} on"}
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    return {"field": name_field(problem)[:LONGEST_FIELD], "message": message}


def name_field(problem: Mapping[str, Any]) -> str:
    """The path of a field as its sender wrote it.

    Of a field that takes several types, pydantic's path goes on with the type that it tried last.
    """
    *path, last = problem["loc"]
    if path and problem["type"] not in ("extra_forbidden", "missing") and _TYPE.fullmatch(str(last)):
        return ".".join(map(str, path))
    return ".".join(map(str, problem["loc"]))


def unexpected_problem(request_id: str) -> ProblemResponse:
    """Nothing about an unexpected error leaves the service but the id under which the log has it."""
    return build_problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        errors.Pipeline3dError.code,
        "Something went wrong in the service.",
        hint="If it stays so, report the request id.",
        request_id=request_id,
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Register one handler per branch."""
    app.add_exception_handler(errors.RequestError, request_error_problem)
    app.add_exception_handler(errors.TransientFailure, transient_problem)
    app.add_exception_handler(errors.PermanentFailure, permanent_problem)
    app.add_exception_handler(RequestValidationError, validation_problem)
    app.add_exception_handler(HTTPException, http_problem)
    for timeout in POOL_TIMEOUTS:
        app.add_exception_handler(timeout, pool_timeout_problem)


def _unavailable(code: str, detail: str) -> ProblemResponse:
    return build_problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        code,
        detail,
        hint=f"Try again in {RETRY_AFTER_S} seconds.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
