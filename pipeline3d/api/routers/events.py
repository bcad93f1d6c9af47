"""What happens to jobs, as it happens and from the beginning."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Response
from pydantic import BeforeValidator, Field

from pipeline3d.api.auth import Reader
from pipeline3d.api.bodies import EventRead
from pipeline3d.api.event_forms import JobEventRead, present_line
from pipeline3d.api.presenting import present_event
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices
from pipeline3d.api.streaming import (
    LARGEST_ID,
    EventChoice,
    list_settled_lines,
    stream_job,
    stream_own_events,
)
from pipeline3d.api.viewing import read_own_job
from pipeline3d.requests import reading
from pipeline3d.requests.event_types import JobEventType

router = Router(prefix=API_PREFIX, tags=["events"])

EVENT_STREAM = "text/event-stream"
MAX_JOBS = 100

Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[int, Query(ge=0, le=LARGEST_ID)]
Accept = Annotated[str, Header(include_in_schema=False)]
Streaming = Annotated[bool | None, Query(alias="stream", include_in_schema=False)]
"""For readers that cannot say what they accept. A tool that tries all parameters would wait for its end."""


def _none_if_empty(value: Any) -> Any:
    """Some readers send the header before they have an id."""
    return value or None


_EventId = Annotated[Annotated[int, Field(ge=0, le=LARGEST_ID)] | None, BeforeValidator(_none_if_empty)]
LastEventId = Annotated[
    _EventId,
    Header(alias="Last-Event-ID", description="Of streams: go on after this id."),
]
LastEventIdQuery = Annotated[
    _EventId,
    Query(alias="last_event_id", description="The same; the header wins."),
]
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}},
    204: {"description": "Of streams: the job has ended, and the reader has read all of it."},
}


# Coroutines although they await nothing: FastAPI sends any other dependency through a thread.
async def _last_id(header_id: LastEventId = None, query_id: LastEventIdQuery = None) -> int | None:
    """A reader that comes back has the newer one in the header, and its first address still."""
    return query_id if header_id is None else header_id


async def _wants_stream(accept: Accept = "", stream: Streaming = None) -> bool:
    """What the query says, or else whether streams are among what is accepted."""
    if stream is not None:
        return stream
    return any(part.partition(";")[0].strip().lower() == EVENT_STREAM for part in accept.split(","))


LastId = Annotated[int | None, Depends(_last_id)]
WantsStream = Annotated[bool, Depends(_wants_stream)]


@router.get("/jobs/{job_id}/events", response_model=list[EventRead], responses=STREAMED)
async def follow_job(
    job_id: UUID,
    account: Reader,
    services: AppServices,
    streams: WantsStream,
    last_id: LastId,
    after: After = 0,
    limit: Limit = 100,
) -> list[EventRead] | Response:
    """The job's history after an event's id, oldest first; with `Accept: text/event-stream` as a stream.

    The stream begins with how the job stands, goes on as it changes and ends with it.
    """
    if streams:
        return await stream_job(services, account, job_id, after=last_id)
    await read_own_job(services, account, job_id)
    rows = await services.all(reading.list_events(job_id, after=after, limit=limit))
    return [present_event(row) for row in rows]


@router.get("/events", response_model=list[JobEventRead], responses={200: STREAMED[200]})
async def follow_all_jobs(
    account: Reader,
    services: AppServices,
    streams: WantsStream,
    last_id: LastId,
    after: After = 0,
    limit: Limit = 100,
    types: Annotated[list[JobEventType] | None, Query(description="Only these; repeat it for more.")] = None,
    job_id: Annotated[
        list[UUID] | None, Query(description="Only of these jobs; repeat it for more.", max_length=MAX_JOBS)
    ] = None,
) -> list[JobEventRead] | Response:
    """What happened to all of one's jobs, oldest first; with `Accept: text/event-stream` as it happens."""
    choice = EventChoice(
        types=frozenset(types) if types else None, job_ids=frozenset(job_id) if job_id else None
    )
    if streams:
        return await stream_own_events(services, account, after=last_id, choice=choice)
    lines = await list_settled_lines(services, account, after=after, limit=limit, choice=choice)
    return [present_line(line) for line in lines]
