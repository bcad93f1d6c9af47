"""Asking for jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Response

from pipeline3d.api.auth import Writer
from pipeline3d.api.bodies import JobCreate, JobRead
from pipeline3d.api.services import AppServices
from pipeline3d.api.submission import submit_job
from pipeline3d.api.viewing import view_jobs

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("/", status_code=HTTPStatus.CREATED)
@router.post("", status_code=HTTPStatus.CREATED, include_in_schema=False)
async def create_job(
    body: JobCreate,
    account: Writer,
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
