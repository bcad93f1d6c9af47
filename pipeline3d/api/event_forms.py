"""Events as those who watch get them: pure functions from a line of history to bytes.

One event is one `bytes` object, however many watch: with a thousand streams, writing it out for each of them
would be most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row

from pipeline3d.requests.event_types import END_TYPES, JobEventType, event_type_of

SNAPSHOT_TYPE = "job.snapshot"
"""How a job stands when a stream of it opens: not a line of history."""

_INNER = frozenset({"event", "state", "attempt", "progress", "run_id", "by_hand"})
_ERROR = ("code", "stage", "message", "hint", "retryable")
_ARTIFACT = ("asset", "name", "type", "size", "sha256")


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


def build_event(line: Row[Any], *, is_settled: bool = True) -> StreamedEvent:
    """An event from a line of history.

    One that is not settled carries no id, by which a reader would resume: something before it may yet come.
    """
    type = event_type_of(line.payload)
    data = describe_event(line, type)
    frame = encode_frame(type, data, id=line.id if is_settled else None)
    return StreamedEvent(id=line.id, job_id=line.job_id, type=type, frame=frame)


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
