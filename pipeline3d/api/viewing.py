"""Looking at jobs: one's own only, with what belongs to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.bodies import ArtifactRead, JobRead
from pipeline3d.api.presenting import describe_job, present_artifact, present_job
from pipeline3d.api.services import Services
from pipeline3d.errors import NotYours, RequestError, UnknownJob
from pipeline3d.requests import reading
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.outlook import Outlook, foresee
from pipeline3d.values import JobState

TELLS_KNOWN_FROM_UNKNOWN = frozenset({"tcc"})
"""Profiles of accounts whose contract answers 403, not 404, where a job belongs to somebody else."""


async def read_own_job(services: Services, account: Account, job_id: UUID) -> Row[Any]:
    """A job of the caller. One of somebody else looks like one that does not exist.

    For accounts of predecessor 1's profile it is 403, which its contract promises for a known id.
    """
    row = await services.first(reading.read_visible_job(), the_job=job_id)
    if row is not None and row.user_id == account.id:
        return row
    raise missing_job(account, job_id, is_known=row is not None)


def missing_job(account: Account, job_id: UUID, *, is_known: bool) -> RequestError:
    """What somebody is told who asks for a job that they do not have; `is_known` says that another has it."""
    if is_known and account.compatibility in TELLS_KNOWN_FROM_UNKNOWN:
        return NotYours(f"Job {job_id} belongs to somebody else.", code="not_your_job")
    return UnknownJob(f"There is no job {job_id}.", hint="GET /api/v1/jobs/ lists your jobs.")


async def view_jobs(services: Services, rows: Sequence[Row[Any]]) -> list[JobRead]:
    """Jobs with their artifacts, which are read at once for all, and their outlooks."""
    artifacts: dict[UUID, list[ArtifactRead]] = defaultdict(list)
    if rows:
        for artifact in await services.all(reading.list_artifacts(), the_jobs=[row.id for row in rows]):
            artifacts[artifact.job_id].append(present_artifact(artifact))
    outlooks = await _foresee(services, rows, None)
    dagster_url = services.settings.dagster_url
    return [
        present_job(row, artifacts[row.id], outlooks.get(row.id), dagster_url=dagster_url) for row in rows
    ]


async def describe_known_job(
    services: Services, row: Row[Any], artifacts: Sequence[Any], *, patience_s: float | None = None
) -> dict[str, Any]:
    """One job whose artifacts are known already, as plain values that are checked by nobody.

    With `patience_s` nobody waits longer for a place in the queue: it is left out where it takes longer.
    """
    outlooks = await _foresee(services, [row], patience_s)
    return describe_job(row, artifacts, outlooks.get(row.id), dagster_url=services.settings.dagster_url)


async def _foresee(
    services: Services, rows: Sequence[Row[Any]], patience_s: float | None
) -> dict[UUID, Outlook]:
    """When those that are under way start and end; a job of which that cannot be known now is left out."""
    unseen = [row for row in rows if row.state in (JobState.QUEUED, JobState.RUNNING)]
    outlooks: dict[UUID, Outlook] = {}
    # Most are in the snapshot that is there; one that has just been made needs a newer one.
    anew = services.queues.look_anew
    if patience_s is not None:
        anew = partial(services.queues.look_anew_soon, patience_s)
    for look in (services.queues.look, anew):
        if not unseen or (view := await look()) is None:
            break
        found = [(row.id, foresee(row, view)) for row in unseen]
        outlooks |= {job_id: outlook for job_id, outlook in found if outlook is not None}
        unseen = [row for row in unseen if row.id not in outlooks]
    return outlooks
