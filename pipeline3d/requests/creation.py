"""Creating a request: its row, its input, its first line of history and the NOTIFY commit together.

Everything is one statement, so there is no moment in which a request is stored but nobody is told of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import Select, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from pipeline3d.database.tables import artifacts, jobs
from pipeline3d.requests.history import with_event
from pipeline3d.values import ArtifactType, EventType, Family, JobState, Kind, StoredObject

UPLOAD_ASSET = "upload"
"""Stands for the asset of an artifact that no asset made: what the caller uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedInput:
    """An object that a caller uploaded, as the store describes it; its content was not read."""

    key: str
    size: int
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A request that was checked and may be stored. `input_params` as sent, `params` complete."""

    id: UUID
    user_id: UUID
    model_id: str
    kind: Kind
    family: Family
    prompt: str | None
    input_params: dict[str, Any]
    params: dict[str, Any]
    upload: UploadedInput | None = None
    priority: int = 0
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    max_attempts: int = 3
    idempotency_key: str | None = None
    request_hash: str | None = None


def new_job_id() -> UUID:
    """An id that sorts by the time of its making (UUIDv7)."""
    return uuid_utils.compat.uuid7()


def hash_request(body: dict[str, Any]) -> str:
    """Equal for equal requests, whatever the order of their fields."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def create_job(job: NewJob) -> Select[Any]:
    """Store the request. No row comes back where its user already used the idempotency key."""
    created = (
        insert(jobs)
        .values(
            id=job.id,
            user_id=job.user_id,
            model_id=job.model_id,
            kind=job.kind,
            family=job.family,
            state=JobState.QUEUED,
            priority=job.priority,
            prompt=job.prompt,
            input_params=job.input_params,
            params=job.params,
            tags=list(job.tags),
            metadata=job.metadata,
            max_attempts=job.max_attempts,
            idempotency_key=job.idempotency_key,
            request_hash=job.request_hash,
        )
        .on_conflict_do_nothing(index_elements=[jobs.c.user_id, jobs.c.idempotency_key])
        .returning(jobs)
        .cte("created")
    )
    payload = literal({"event": "created", "model_id": job.model_id}, JSONB)
    statement = with_event(created, payload)
    if job.upload is None:
        return statement
    names = (
        "id",
        "job_id",
        "attempt",
        "asset",
        "name",
        "type",
        "storage_path",
        "content_type",
        "file_size_bytes",
    )
    upload = select(
        literal(new_job_id(), artifacts.c.id.type),
        created.c.id,
        created.c.attempt,
        literal(UPLOAD_ASSET),
        literal("input"),
        literal(ArtifactType.INPUT.value),
        literal(job.upload.key),
        literal(job.upload.content_type),
        literal(job.upload.size, artifacts.c.file_size_bytes.type),
    )
    return statement.add_cte(insert(artifacts).from_select(list(names), upload).cte("uploaded"))


def record_artifact(
    job_id: UUID,
    attempt: int,
    asset: str,
    name: str,
    type: ArtifactType,
    stored: StoredObject,
    metadata: dict[str, Any],
) -> Select[Any]:
    """Record what an attempt stored, in place of what an earlier one stored under the same name.

    No row comes back where the attempt is not the request's last or the request was given up.
    """
    guard = (
        select(
            literal(new_job_id(), artifacts.c.id.type),
            jobs.c.id,
            jobs.c.attempt,
            *(literal(value) for value in (asset, name, type.value, stored.key, stored.content_type)),
            literal(stored.sha256),
            literal(stored.size, artifacts.c.file_size_bytes.type),
            literal(metadata, JSONB),
        )
        .where(
            jobs.c.id == job_id,
            jobs.c.attempt == attempt,
            jobs.c.state.not_in([JobState.CANCELED, JobState.EXPIRED]),
        )
        # waits for a change of the attempt that is on its way, and then does not match
        .with_for_update(read=True)
    )
    row = insert(artifacts).from_select(
        [
            *("id", "job_id", "attempt", "asset", "name", "type", "storage_path", "content_type", "sha256"),
            *("file_size_bytes", "metadata"),
        ],
        guard,
    )
    changing = ("attempt", "type", "storage_path", "content_type", "sha256", "file_size_bytes", "metadata")
    recorded = (
        row.on_conflict_do_update(
            index_elements=["job_id", "asset", "name"],
            set_={**{column: row.excluded[column] for column in changing}, "created_at": func.now()},
        )
        .returning(artifacts.c.job_id)
        .cte("recorded")
    )
    owner = (
        select(jobs.c.id, jobs.c.state, jobs.c.attempt)
        .join(recorded, recorded.c.job_id == jobs.c.id)
        .cte("owner")
    )
    payload = {
        "event": "artifact",
        "asset": asset,
        "name": name,
        "type": type.value,
        "size": stored.size,
        "sha256": stored.sha256,
    }
    return with_event(owner, literal(payload, JSONB), event_type=EventType.INFO, wakes_dispatcher=False)
