"""Jobs that exist: list, look at, change, end, delete."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Query, Request, Response
from sqlalchemy import Row

from pipeline3d.api.actions import act_on_jobs
from pipeline3d.api.auth import Reader, Writer
from pipeline3d.api.bodies import JobRead
from pipeline3d.api.change_forms import ActionBody, ActionReport, ExpiryBody, JobPatch
from pipeline3d.api.changing import amend_job, cancel_job, extend_job, hold_job, release_job, retry_job
from pipeline3d.api.compatibility import CompatibleRoute
from pipeline3d.api.deleting import delete_job
from pipeline3d.api.documents import tell_job
from pipeline3d.api.list_forms import JobChoice, JobCounts, JobListQuery
from pipeline3d.api.listing import count_jobs, list_jobs
from pipeline3d.api.routing import API_PREFIX, EitherSlashRoute, Router
from pipeline3d.api.services import AppServices, Services
from pipeline3d.api.viewing import view_jobs
from pipeline3d.api.waiting import Prefer
from pipeline3d.values import JobState

router = Router(route_class=CompatibleRoute, prefix=f"{API_PREFIX}/jobs", tags=["jobs"])

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is as it was: see ETag."}}


@router.get("/")
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
async def count_own_jobs(
    account: Reader, services: AppServices, choice: Annotated[JobChoice, Query()]
) -> JobCounts:
    """How many of one's own jobs there are of each status, model and kind; with the filters of the list."""
    return await count_jobs(services, account, choice)


async def read_job(
    job_id: UUID,
    account: Reader,
    services: AppServices,
    request: Request,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="The ETag of the answer before.")] = None,
    prefer: Prefer = None,
) -> Response:
    """One job; with Prefer: wait=n, once it has ended or n seconds are up."""
    return await tell_job(request, services, account, job_id, response)


router.add_api_route(
    "/{job_id}",
    read_job,
    response_model=JobRead,
    responses=NOT_MODIFIED,
    route_class_override=EitherSlashRoute,  # it gives the account's form by itself, before the tag
)


@router.patch("/{job_id}")
async def amend(job_id: UUID, body: JobPatch, account: Writer, services: AppServices) -> JobRead:
    """Change tags, metadata or expiry at any time; priority and deadline while the job is QUEUED."""
    return await _view(services, await amend_job(services, account, job_id, body.changes()))


@router.delete("/{job_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete(job_id: UUID, account: Writer, services: AppServices) -> None:
    """Delete a job for good, with its files. One that waits or runs is ended first.

    It is invisible at once and gone some seconds later; repeated in between it is 204, then 404.
    """
    await delete_job(services, account, job_id)


@router.post("/actions")
async def act(body: ActionBody, account: Writer, services: AppServices) -> ActionReport:
    """Cancel, retry, delete, hold or release many jobs: each by itself, with a report of each."""
    return await act_on_jobs(services, account, body)


@router.post("/{job_id}/cancel")
async def cancel(job_id: UUID, account: Writer, services: AppServices, response: Response) -> JobRead:
    """End a job: 200 once it has ended, 202 while its run is being stopped. A finished job stays as it is."""
    job = await _view(services, await cancel_job(services, account, job_id))
    if job.status == JobState.CANCELING:
        response.status_code = HTTPStatus.ACCEPTED
    return job


@router.post("/{job_id}/hold")
async def hold(job_id: UUID, account: Writer, services: AppServices) -> JobRead:
    """Let a job that is QUEUED wait until it is released."""
    return await _view(services, await hold_job(services, account, job_id))


@router.post("/{job_id}/release")
async def release(job_id: UUID, account: Writer, services: AppServices) -> JobRead:
    """Let a job that was held wait for its turn again. Any other stays as it is."""
    return await _view(services, await release_job(services, account, job_id))


@router.post("/{job_id}/extend")
async def extend(job_id: UUID, body: ExpiryBody, account: Writer, services: AppServices) -> JobRead:
    """Keep the files of a job for another time from now, until a moment, or for ever."""
    return await _view(services, await extend_job(services, account, job_id, body))


@router.post("/{job_id}/retry")
async def retry(job_id: UUID, account: Writer, services: AppServices) -> JobRead:
    """Try a job that did not succeed once more, as a new attempt. One that is under way stays as it is."""
    return await _view(services, await retry_job(services, account, job_id))


async def _view(services: Services, row: Row[Any]) -> JobRead:
    [job] = await view_jobs(services, [row])
    return job
