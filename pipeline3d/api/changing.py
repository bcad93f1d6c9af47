"""What its owner may do to a job after it was made: end it, or try it once more. Both are safe to repeat."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.services import Services
from pipeline3d.api.viewing import read_own_job
from pipeline3d.errors import RequestError
from pipeline3d.requests import changes
from pipeline3d.requests.accounts import Account
from pipeline3d.values import JobState

_UNDER_WAY = (JobState.QUEUED, JobState.RUNNING)


async def cancel_job(services: Services, account: Account, job_id: UUID) -> Row[Any]:
    """End a job of the caller: at once while it waits, as soon as its run has stopped while it runs."""
    await read_own_job(services, account, job_id)
    await services.first(changes.request_cancel(job_id))
    return await read_own_job(services, account, job_id)


async def retry_job(services: Services, account: Account, job_id: UUID) -> Row[Any]:
    """Queue a job of the caller that did not succeed once more; one that is under way stays as it is."""
    await read_own_job(services, account, job_id)
    queued = await services.first(changes.retry_by_hand(job_id))
    row = await read_own_job(services, account, job_id)
    if queued is None and row.state not in _UNDER_WAY:
        raise RequestError(
            f"Job {job_id} is {row.state}; a job that FAILED, was CANCELED or EXPIRED can be tried again.",
            code="not_retryable",
            hint="Ask for the same again with a new job.",
        )
    return row
