"""Jobs: create, look at, cancel, try again, download."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Response

from pipeline3d.api.auth import CurrentAccount
from pipeline3d.api.bodies import ArtifactRead, DownloadRead, EventRead, JobCreate, JobRead
from pipeline3d.api.changing import cancel_job, retry_job
from pipeline3d.api.presenting import present_artifact, present_event
from pipeline3d.api.services import AppServices
from pipeline3d.api.submission import submit_job
from pipeline3d.api.viewing import link_named_artifact, link_result, read_own_job, view_jobs
from pipeline3d.requests import reading
from pipeline3d.values import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"])

KeyPart = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
MOST_SKIPPED = 10_000
"""What is skipped is read all the same; further down `before` leads there at once."""

Limit = Annotated[int, Query(ge=1, le=500)]


@router.post("/", status_code=HTTPStatus.CREATED)
@router.post("", status_code=HTTPStatus.CREATED, include_in_schema=False)
async def create_job(
    body: JobCreate,
    account: CurrentAccount,
    services: AppServices,
    response: Response,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> JobRead:
    """Ask for a model. With an Idempotency-Key the same request again gives the same job."""
    submission = await submit_job(services, account, body, idempotency_key)
    [job] = await view_jobs(services, [submission.row])
    response.headers["Location"] = job.links.self
    if submission.repeated:
        response.headers["Idempotency-Replayed"] = "true"
    return job


@router.get("/")
@router.get("", include_in_schema=False)
async def list_jobs(
    account: CurrentAccount,
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
async def read_job(job_id: UUID, account: CurrentAccount, services: AppServices) -> JobRead:
    """One job."""
    [job] = await view_jobs(services, [await read_own_job(services, account, job_id)])
    return job


@router.delete("/{job_id}")
@router.delete("/{job_id}/", include_in_schema=False)
@router.post("/{job_id}/cancel")
async def cancel(job_id: UUID, account: CurrentAccount, services: AppServices, response: Response) -> JobRead:
    """End a job: 200 once it has ended, 202 while its run is being stopped. A finished job stays as it is."""
    [job] = await view_jobs(services, [await cancel_job(services, account, job_id)])
    if job.status == JobState.CANCELING:
        response.status_code = HTTPStatus.ACCEPTED
    return job


@router.post("/{job_id}/retry")
async def retry(job_id: UUID, account: CurrentAccount, services: AppServices) -> JobRead:
    """Try a job that did not succeed once more, as a new attempt. One that is under way stays as it is."""
    [job] = await view_jobs(services, [await retry_job(services, account, job_id)])
    return job


@router.get("/{job_id}/download")
async def download(job_id: UUID, account: CurrentAccount, services: AppServices) -> DownloadRead:
    """A link to the model that the job made."""
    return await link_result(services, await read_own_job(services, account, job_id))


@router.get("/{job_id}/events")
async def list_events(
    job_id: UUID,
    account: CurrentAccount,
    services: AppServices,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Limit = 100,
) -> list[EventRead]:
    """The job's history after an event's id, oldest first."""
    await read_own_job(services, account, job_id)
    rows = await services.all(reading.list_events(job_id, after=after, limit=limit))
    return [present_event(row) for row in rows]


@router.get("/{job_id}/artifacts")
async def list_artifacts(job_id: UUID, account: CurrentAccount, services: AppServices) -> list[ArtifactRead]:
    """Everything that is stored for the job."""
    await read_own_job(services, account, job_id)
    rows = await services.all(reading.list_artifacts(), the_jobs=[job_id])
    return [present_artifact(row) for row in rows]


@router.get("/{job_id}/artifacts/{asset}/{name}")
async def read_artifact(
    job_id: UUID, asset: KeyPart, name: KeyPart, account: CurrentAccount, services: AppServices
) -> DownloadRead:
    """A link to one object of the job."""
    return await link_named_artifact(services, await read_own_job(services, account, job_id), asset, name)
