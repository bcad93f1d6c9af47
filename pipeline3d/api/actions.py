"""One action on many jobs: each is done or refused by itself, and the report says which was which."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.change_forms import ActionBody, ActionReport, ActionResult, JobAction
from pipeline3d.api.changing import cancel_job, hold_job, release_job, retry_job
from pipeline3d.api.deleting import delete_job
from pipeline3d.api.services import Services
from pipeline3d.errors import RequestError
from pipeline3d.requests.accounts import Account

ACTIONS: dict[JobAction, Callable[[Services, Account, UUID], Awaitable[Row[Any] | None]]] = {
    JobAction.CANCEL: cancel_job,
    JobAction.RETRY: retry_job,
    JobAction.DELETE: delete_job,
    JobAction.HOLD: hold_job,
    JobAction.RELEASE: release_job,
}


async def act_on_jobs(services: Services, account: Account, body: ActionBody) -> ActionReport:
    """Do it to one job after the other: of equal requests at once each leaves the others their turns."""
    results: dict[UUID, ActionResult] = {}
    turns = order_turns(body.action, body.ids)
    while turns:
        now = {job_id: await _act(services, account, body.action, job_id) for job_id in turns}
        results |= now
        # Clocks of replicas differ: what only the others needed goes once they are gone.
        turns = [result.id for result in now.values() if result.code == "job_in_use"]
        if not any(result.ok for result in now.values()):
            break
    results = {job_id: results[job_id] for job_id in body.ids}
    return ActionReport(
        action=body.action,
        done=_count(results.values(), ok=True),
        refused=_count(results.values(), ok=False),
        results=list(results.values()),
    )


def order_turns(action: JobAction, ids: Iterable[UUID]) -> list[UUID]:
    """Each job once, in the order in which they are acted on: as they came, but what is deleted newest first.

    What needs a job was made after it, and ids tell that: from its end on a chain goes with one look at each.
    """
    turns = list(dict.fromkeys(ids))
    return sorted(turns, reverse=True) if action is JobAction.DELETE else turns


async def _act(services: Services, account: Account, action: JobAction, job_id: UUID) -> ActionResult:
    try:
        row = await ACTIONS[action](services, account, job_id)
    except RequestError as error:
        return ActionResult(
            id=job_id, ok=False, status=None, code=error.code, detail=error.message, hint=error.hint
        )
    return ActionResult(id=job_id, ok=True, status=None if row is None else row.state)


def _count(results: Iterable[ActionResult], *, ok: bool) -> int:
    return sum(result.ok is ok for result in results)
