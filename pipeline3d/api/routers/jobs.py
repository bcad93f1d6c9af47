"""Jobs: look at, cancel, try again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from pipeline3d.api.auth import Reader, Writer
from pipeline3d.api.bodies import JobRead
from pipeline3d.api.changing import cancel_job, retry_job
from pipeline3d.api.services import AppServices
from pipeline3d.api.viewing import read_own_job, view_jobs
from pipeline3d.requests import reading
from pipeline3d.values import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"])

MOST_SKIPPED = 10_000
"""What is skipped is read all the same; further down `before` leads there at once."""

Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/")
@router.get("", include_in_schema=False)
async def list_jobs(
    account: Reader,
    services: AppServices,
    skip: Annotated[int, Query(ge=0, le=MOST_SKIPPED)] = 0,
    limit: Limit = 50,
    before: Annotated[UUID | None, Query(description="Only jobs that are older than this one.")] = None,
) -> list[JobRead]:
    """One's own jobs, newest first. Go on with `before`, the last id of the page before."""
    page = {"the_user": account.id, "the_skip": skip, "the_limit": limit}
    if before is not None:
        page["the_mark"] = before
    rows = await services.all(reading.list_own_jobs(before=before is not None), **page)
    return await view_jobs(services, rows)


@router.get("/{job_id}")
@router.get("/{job_id}/", include_in_schema=False)
async def read_job(job_id: UUID, account: Reader, services: AppServices) -> JobRead:
    """One job."""
    [job] = await view_jobs(services, [await read_own_job(services, account, job_id)])
    return job


@router.delete("/{job_id}")
@router.delete("/{job_id}/", include_in_schema=False)
@router.post("/{job_id}/cancel")
async def cancel(job_id: UUID, account: Writer, services: AppServices, response: Response) -> JobRead:
    """End a job: 200 once it has ended, 202 while its run is being stopped. A finished job stays as it is."""
    [job] = await view_jobs(services, [await cancel_job(services, account, job_id)])
    if job.status == JobState.CANCELING:
        response.status_code = HTTPStatus.ACCEPTED
    return job


@router.post("/{job_id}/retry")
async def retry(job_id: UUID, account: Writer, services: AppServices) -> JobRead:
    """Try a job that did not succeed once more, as a new attempt. One that is under way stays as it is."""
    [job] = await view_jobs(services, [await retry_job(services, account, job_id)])
    return job
