"""What happens to jobs, as it happens and from the beginning."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from pipeline3d.api.auth import Reader
from pipeline3d.api.bodies import EventRead
from pipeline3d.api.presenting import present_event
from pipeline3d.api.services import AppServices
from pipeline3d.api.viewing import read_own_job
from pipeline3d.requests import reading

router = APIRouter(prefix="/jobs", tags=["jobs"])

Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/{job_id}/events")
async def list_events(
    job_id: UUID,
    account: Reader,
    services: AppServices,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Limit = 100,
) -> list[EventRead]:
    """The job's history after an event's id, oldest first."""
    await read_own_job(services, account, job_id)
    rows = await services.all(reading.list_events(job_id, after=after, limit=limit))
    return [present_event(row) for row in rows]
