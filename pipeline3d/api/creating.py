"""The answer to somebody who asks for a job: at once, when it has ended, or what it would be."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from uuid import UUID

from fastapi import Response

from pipeline3d.api.bodies import JobCreate
from pipeline3d.api.estimating import dry_run
from pipeline3d.api.idempotency import Answer
from pipeline3d.api.services import Services
from pipeline3d.api.submission import answer_of, submit_job
from pipeline3d.api.viewing import view_jobs
from pipeline3d.api.waiting import APPLIED, read_preference, wait_for_end
from pipeline3d.requests.accounts import Account


async def create_or_estimate(
    services: Services,
    account: Account,
    body: JobCreate,
    idempotency_key: str | None,
    prefer: str | None,
    given: Response,
) -> Response:
    """Store a job and answer, waiting for its end if that is preferred; or say what would be stored.

    The answer has the headers of `given` as well.
    """
    more = {name: given.headers[name] for name in given.headers if name != "content-length"}
    if body.dry_run:
        shown = await dry_run(services, account, body)
        return respond(Answer(status=HTTPStatus.OK, body=shown.model_dump_json()), more)
    answer = await submit_job(services, account, body, idempotency_key)
    return await respond_when_ended(services, answer, prefer, more)


async def respond_when_ended(
    services: Services, answer: Answer, prefer: str | None, more: Mapping[str, str] | None = None
) -> Response:
    """The answer about a new job, once that has ended where somebody would wait for it.

    A replayed answer is given as it was kept, without waiting.
    """
    seconds = read_preference(prefer)
    if seconds is None or answer.replayed or answer.location is None:
        return respond(answer, more)
    row = await wait_for_end(services, UUID(answer.location.rpartition("/")[2]), seconds)
    if row is not None:
        [job] = await view_jobs(services, [row])
        answer = answer_of(job, answer.status)
    return respond(answer, {**(more or {}), APPLIED: f"wait={seconds}"})


def respond(answer: Answer, more: Mapping[str, str] | None = None) -> Response:
    """An answer as the framework sends it, exactly as it was written."""
    return Response(
        answer.body,
        status_code=answer.status,
        media_type="application/json",
        headers={**answer.headers, **(more or {})},
    )
