"""Events as those who watch get them: pure functions from a line of history to bytes.

One event is one `bytes` object, however many watch: with a thousand streams, writing it out for each of them
would be most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel
from sqlalchemy import Row

from pipeline3d.requests.event_types import BEGINNING_TYPES, END_TYPES, JobEventType, event_type_of

SNAPSHOT_TYPE = "job.snapshot"
"""How a job stands when a stream of it opens: not a line of history."""

OPENING_TYPE = "stream.opened"

RETRY = b"retry: 2000\n"
"""Milliseconds after which a reader comes back; becomes part of the first event."""

KEEP_ALIVE = b": keep-alive\n"
"""A comment, which readers skip. Not followed by an empty line: some take that for an event without data."""

_INNER = frozenset({"event", "state", "attempt", "progress", "run_id", "by_hand"})
_ERROR = ("code", "stage", "message", "hint", "retryable")
_ARTIFACT = ("asset", "name", "type", "size", "sha256")


class ArtifactNote(BaseModel):
    """What was stored."""

    asset: str
    name: str
    type: str | None = None
    size: int | None = None
    sha256: str | None = None


class ErrorNote(BaseModel):
    """Why an attempt failed."""

    code: str
    stage: str | None = None
    message: str | None = None
    hint: str | None = None
    retryable: bool | None = None


class JobEventRead(BaseModel):
    """Something that happened to a job: what a stream sends as the data of an event."""

    id: int
    type: JobEventType
    job_id: UUID
    status: str | None
    attempt: int | None
    created_at: datetime
    progress: dict[str, Any] | None = None
    artifact: ArtifactNote | None = None
    error: ErrorNote | None = None
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """An event, and the bytes that a stream sends of it."""

    id: int
    job_id: UUID
    type: JobEventType
    frame: bytes

    @property
    def is_end(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self.type in END_TYPES

    @property
    def is_beginning(self) -> bool:
        """Whether a job that had ended goes on after it."""
        return self.type in BEGINNING_TYPES


def build_event(line: Row[Any], *, is_settled: bool = True) -> StreamedEvent:
    """An event from a line of history.

    One that is not settled carries no id, by which a reader would resume: something before it may yet come.
    """
    type = event_type_of(line.payload)
    data = describe_event(line, type)
    frame = encode_frame(type, data, id=line.id if is_settled else None)
    return StreamedEvent(id=line.id, job_id=line.job_id, type=type, frame=frame)


def present_line(line: Row[Any]) -> JobEventRead:
    """The same as a value."""
    return JobEventRead(**describe_event(line, event_type_of(line.payload)))


def describe_event(line: Row[Any], type: JobEventType) -> dict[str, Any]:
    """The data of an event: what belongs to its type, and nothing that would be null."""
    payload = line.payload
    data: dict[str, Any] = {
        "id": line.id,
        "type": type.value,
        "job_id": line.job_id,
        "status": payload.get("state"),
        "attempt": payload.get("attempt"),
        "created_at": line.created_at,
    }
    if payload.get("progress"):
        data["progress"] = payload["progress"]
    if type is JobEventType.ARTIFACT:
        data["artifact"] = {name: payload.get(name) for name in _ARTIFACT}
    elif "code" in payload:
        data["error"] = {name: payload.get(name) for name in _ERROR}
    elif more := {name: value for name, value in payload.items() if name not in _INNER}:
        data["details"] = more
    return data


def encode_frame(event: str, data: dict[str, Any], *, id: int | None) -> bytes:
    """One server-sent event. JSON in one line: it never holds a line break of its own."""
    head = b"" if id is None else b"id: %d\n" % id
    return b"%sevent: %s\ndata: %s\n\n" % (head, event.encode(), orjson.dumps(data))


def build_opening(position: int) -> bytes:
    """What a stream of all jobs begins with: the id from which to resume before anything has happened."""
    return encode_frame(OPENING_TYPE, {"type": OPENING_TYPE, "id": position}, id=position)


def build_snapshot(row: Row[Any], position: int) -> bytes:
    """How a job stands; what happens after it has ids above `position`."""
    data: dict[str, Any] = {
        "id": position,
        "type": SNAPSHOT_TYPE,
        "job_id": row.id,
        "status": row.state,
        "attempt": row.attempt,
        "created_at": row.updated_at,
        "progress": {**(row.progress or {}), "percent": row.progress_percent},
    }
    if row.error_code is not None:
        data["error"] = {name: getattr(row, f"error_{name}") for name in _ERROR}
    return encode_frame(SNAPSHOT_TYPE, data, id=position)


def build_removal(row: Row[Any]) -> bytes:
    """The end of a job whose history is gone with it. Without an id: there is nothing to resume."""
    type = JobEventType.DELETED.value
    data = {"type": type, "job_id": row.id, "status": row.state, "attempt": row.attempt}
    return encode_frame(type, data, id=None)
