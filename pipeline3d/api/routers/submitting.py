"""Asking for jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Header, Query, Request, Response

from pipeline3d.api import batches
from pipeline3d.api.auth import Reader, Writer
from pipeline3d.api.batch_bodies import BATCH_SCHEMA, receive_batch
from pipeline3d.api.batch_forms import BatchQuery, BatchRead, BatchReport, BatchSummary
from pipeline3d.api.bodies import JobCreate, JobRead
from pipeline3d.api.compatibility import CompatibleRoute
from pipeline3d.api.creating import create_or_estimate, respond, respond_when_ended
from pipeline3d.api.estimating import DryRun, Estimate, estimate_job
from pipeline3d.api.quick_create import QuickCreateRoute
from pipeline3d.api.rerunning import Changes, rerun_job
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices
from pipeline3d.api.waiting import Prefer

router = Router(route_class=CompatibleRoute, prefix=f"{API_PREFIX}/jobs", tags=["jobs"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="1 to 255 printable ASCII characters. The same request again with the same key gets the "
        "same answer for 24 hours and makes nothing."
    ),
]


async def create_job(
    body: JobCreate,
    account: Writer,
    services: AppServices,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Ask for a model. With an Idempotency-Key the same request again gives the same answer."""
    return await create_or_estimate(services, account, body, idempotency_key, prefer, response)


router.add_api_route(
    "/",
    create_job,
    methods=["POST"],
    status_code=HTTPStatus.CREATED,
    response_model=JobRead,
    responses={200: {"model": DryRun, "description": "With dry_run: what would be made."}},
    route_class_override=QuickCreateRoute,
)


@router.post("/estimate")
async def estimate(body: JobCreate, account: Writer, services: AppServices) -> Estimate:
    """What such a job would cost and how long it would take, as far as it is known. Nothing is stored."""
    return await estimate_job(services, account, body)


@router.post(
    "/batch",
    status_code=HTTPStatus.CREATED,
    response_model=BatchReport,
    responses={207: {"model": BatchReport, "description": "Some were refused; the others were made."}},
    openapi_extra=BATCH_SCHEMA,
)
async def create_batch(
    request: Request,
    account: Writer,
    services: AppServices,
    query: Annotated[BatchQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask for up to 1000 jobs at once: as JSON, as CSV with a job in each row, or as photos."""
    async with receive_batch(services, account.id, request, query) as sent:
        return respond(await batches.submit_batch(services, account, sent, query, idempotency_key))


@router.get("/batches/")
async def list_batches(
    account: Reader,
    services: AppServices,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[UUID | None, Query(description="Only batches that are older than this one.")] = None,
) -> list[BatchSummary]:
    """One's own batches, newest first. Go on with `before`, the last id of the page before."""
    return await batches.list_batches(services, account, before=before, limit=limit)


@router.get("/batches/{batch_id}")
async def read_batch(batch_id: UUID, account: Reader, services: AppServices) -> BatchRead:
    """A batch with its jobs as they stand, how many are of each status, and what was refused."""
    return await batches.read_batch(services, account, batch_id)


@router.post("/{job_id}/rerun", status_code=HTTPStatus.CREATED, response_model=JobRead)
async def rerun(
    job_id: UUID,
    account: Writer,
    services: AppServices,
    changes: Changes | None = None,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Ask for the same once more, as a new job, with some things changed."""
    answer = await rerun_job(services, account, job_id, changes or Changes(), idempotency_key)
    return await respond_when_ended(services, answer, prefer)
