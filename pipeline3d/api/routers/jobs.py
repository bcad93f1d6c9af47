"""Jobs: look at, cancel, try again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from pipeline3d.api.auth import Reader, Writer
from pipeline3d.api.bodies import JobRead
from pipeline3d.api.changing import cancel_job, retry_job
from pipeline3d.api.list_forms import JobChoice, JobCounts, JobListQuery
from pipeline3d.api.listing import count_jobs, list_jobs
from pipeline3d.api.services import AppServices
from pipeline3d.api.viewing import read_own_job, view_jobs
from pipeline3d.values import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("/")
@router.get("", include_in_schema=False)
async def list_own_jobs(
    account: Reader,
    services: AppServices,
    query: Annotated[JobListQuery, Query()],
    request: Request,
    response: Response,
) -> list[JobRead]:
    """One's own jobs, newest first. Go on with the address in the header Link, or its cursor."""
    page = await list_jobs(services, account, query)
    response.headers.update(page.headers(request.url.path, request.query_params.multi_items()))
    return await view_jobs(services, page.rows)


@router.get("/counts")
@router.get("/counts/", include_in_schema=False)
async def count_own_jobs(
    account: Reader, services: AppServices, choice: Annotated[JobChoice, Query()]
) -> JobCounts:
    """How many of one's own jobs there are of each status, model and kind; with the filters of the list."""
    return await count_jobs(services, account, choice)


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
