"""Asking for jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Response

from pipeline3d.api.auth import Writer
from pipeline3d.api.bodies import JobCreate, JobRead
from pipeline3d.api.creating import create_or_estimate
from pipeline3d.api.estimating import DryRun, Estimate, estimate_job
from pipeline3d.api.services import AppServices

router = APIRouter(prefix="/jobs", tags=["jobs"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="1 to 255 printable ASCII characters. The same request again with the same key gets the "
        "same answer for 24 hours and makes nothing."
    ),
]
Prefer = Annotated[
    str | None,
    Header(description="`wait=n`: answer when the job has ended, or after n seconds (1 to 60) as it stands."),
]


@router.post(
    "/",
    status_code=HTTPStatus.CREATED,
    response_model=JobRead,
    responses={200: {"model": DryRun, "description": "With dry_run: what would be made."}},
)
@router.post("", status_code=HTTPStatus.CREATED, include_in_schema=False)
async def create_job(
    body: JobCreate,
    account: Writer,
    services: AppServices,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Ask for a model. With an Idempotency-Key the same request again gives the same answer."""
    return await create_or_estimate(services, account, body, idempotency_key, prefer)


@router.post("/estimate")
@router.post("/estimate/", include_in_schema=False)
async def estimate(body: JobCreate, account: Writer, services: AppServices) -> Estimate:
    """What such a job would cost and how long it would take, as far as it is known. Nothing is stored."""
    return await estimate_job(services, account, body)
