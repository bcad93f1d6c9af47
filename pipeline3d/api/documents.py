"""The answer that is asked for most: one job, made of one JSON text of Postgres, with a tag of its content.

It is what `view_jobs` shows of the same row (a test holds the two together), with a third of the work: one
statement for the job and its artifacts, one value to read, and no second check of the form.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic_core import from_json

from pipeline3d.api.auth import check_scope, require_account
from pipeline3d.api.compatibility import FORMS
from pipeline3d.api.presenting import describe_artifact, write_job_json
from pipeline3d.api.services import Services
from pipeline3d.api.viewing import describe_known_job, missing_job
from pipeline3d.api.waiting import wait_as_preferred
from pipeline3d.requests import reading
from pipeline3d.requests.accounts import Account
from pipeline3d.values import Scope

_MOMENTS = (
    *("created_at", "updated_at", "started_at", "completed_at", "not_before", "lease_until"),
    *("deadline", "expires_at"),
)
"""Columns that are times, in the spelling of Postgres."""


async def answer_with_job(request: Request) -> Response:
    """GET of one job, for whoever may read jobs. The path has no other parameter than `job_id`."""
    services: Services = request.app.state.services
    given = Response()
    account = await require_account(request, services, given, None)
    check_scope(account, Scope.JOBS_READ)
    return await tell_job(request, services, account, request.path_params["job_id"], given)


async def tell_job(
    request: Request, services: Services, account: Account, job_id: UUID, given: Response
) -> Response:
    """A job for whoever was let in: waited for as is preferred, in the form of the account, with a tag."""
    given.headers.update(await wait_as_preferred(services, account, job_id, request.headers.get("prefer")))
    body = await write_job(services, account, job_id)
    present = FORMS.get(account.compatibility or "")
    if present is not None:
        body = json.dumps(present(json.loads(body)), ensure_ascii=False).encode()
    return answer_tagged(request, body, given)


async def write_job(services: Services, account: Account, job_id: UUID) -> bytes:
    """A job of the caller as JSON; refused as by `read_own_job`."""
    rows = await services.directly(reading.read_job_document(), the_job=job_id)
    document = from_json(rows[0].document) if rows else None
    if document is None or document["user_id"] != str(account.id):
        raise missing_job(account, job_id, is_known=document is not None)
    artifacts = [describe_artifact(_as_row(artifact)) for artifact in document.pop("artifacts")]
    return write_job_json(await describe_known_job(services, _as_row(document), artifacts))


def answer_tagged(request: Request, body: bytes, given: Response) -> Response:
    """JSON with a tag of its content, or 304 where the caller has just that; with the headers of `given`."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    headers |= {name: given.headers[name] for name in given.headers if name != "content-length"}
    known = request.headers.get("if-none-match")
    if known is not None and is_among(tag, known):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def is_among(tag: str, known: str) -> bool:
    """Whether If-None-Match names this tag; a weak tag of the same content is as good."""
    tags = [one.strip().removeprefix("W/") for one in known.split(",")]
    return tag in tags or "*" in tags


def _as_row(columns: dict[str, Any]) -> Any:
    """Columns as attributes, as of a row; moments as such."""
    for name in _MOMENTS:
        text = columns.get(name)
        if text is not None:
            columns[name] = datetime.fromisoformat(text)
    return SimpleNamespace(**columns)
