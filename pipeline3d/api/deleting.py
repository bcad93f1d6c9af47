"""Deleting jobs for good: nobody sees them any more at once, and all that they left is removed soon after."""

from __future__ import annotations

from uuid import UUID

from pipeline3d.api.audit import audit
from pipeline3d.api.services import Services
from pipeline3d.api.viewing import read_own_job
from pipeline3d.errors import RequestError, UnknownJob
from pipeline3d.requests import deleting
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.audit import Action

MOST_NAMED = 20
"""Jobs that are named of those that still need the files of one."""


async def delete_job(services: Services, account: Account, job_id: UUID) -> None:
    """Delete a job of the caller. Repeated while it is being removed it is as good as done.

    Raises UnknownJob, also once it is removed, and RequestError `job_in_use`.
    """
    if await services.first(deleting.request_deletion(job_id, account.id)) is not None:
        await audit(services, account, Action.JOB_DELETED, f"job:{job_id}")
        return
    if await services.first(deleting.is_being_deleted(job_id, account.id)) is not None:
        return
    await read_own_job(services, account, job_id)
    needing = await services.all(deleting.list_dependents(job_id, account.id, limit=MOST_NAMED))
    if not needing:  # the last of them has ended in this moment
        raise UnknownJob(f"There is no job {job_id}.")
    ids = [str(row.id) for row in needing]
    raise RequestError(
        f"Job {job_id} cannot be deleted while these jobs need its files: {', '.join(ids)}.",
        code="job_in_use",
        hint="Wait until they have ended, or cancel or delete them first.",
        details={"job_ids": ids},
    )
