"""Creating requests: their rows, inputs, first lines of history and the NOTIFY commit together.

Everything is one statement, however many requests it makes, so there is no moment in which a request is
stored but nobody is told of it, or in which an idempotency key is taken and nothing was made under it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import (
    CTE,
    Float,
    Integer,
    Numeric,
    Row,
    Select,
    SmallInteger,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, BOOLEAN, JSONB, insert

from pipeline3d.database import file_tables
from pipeline3d.database.columns import TIME
from pipeline3d.database.tables import artifacts, batches, idempotency_keys, jobs, models
from pipeline3d.requests.history import with_event
from pipeline3d.requests.idempotency import KEY_LIFE_S, KeyUse
from pipeline3d.requests.json_text import encode
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d.values import ArtifactType, EventType, Family, JobState, Kind, StoredObject

UPLOAD_ASSET = "upload"
"""Stands for the asset of an artifact that no asset made: what the caller uploaded."""
UPLOAD_NAME = "input"
NOT_NULL_VIOLATION = "23502"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedInput:
    """An object that a caller uploaded, as the store describes it; its content was not read."""

    key: str
    size: int
    content_type: str
    is_recorded: bool = False
    """Whether a record of it was found: then it must still be there when the request is stored."""


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
    deadline: datetime | None = None
    deadline_in_s: float | None = None
    """Counted by Postgres from the moment of storing, where no `deadline` is given."""
    expires_at: datetime | None = None
    expires_in_s: float | None = None
    """The same for `expires_at`."""
    held: bool = False
    input_job_id: UUID | None = None
    """The request whose model this one takes. While that has not ended this one waits for it."""
    rerun_of: UUID | None = None
    batch_id: UUID | None = None
    key_id: UUID | None = None
    cost_units: Decimal = Decimal(0)
    callback_url: str | None = None
    callback_events: tuple[str, ...] = ()
    callback_format: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """Requests that came together. `refused` says of those that cannot be made why, by their index."""

    id: UUID
    user_id: UUID
    name: str
    source: str
    size: int
    refused: list[dict[str, Any]] = field(default_factory=list)


def new_job_id() -> UUID:
    """An id that sorts by the time of its making (UUIDv7)."""
    return uuid_utils.compat.uuid7()


def hash_request(body: Any) -> str:
    """Equal for equal requests, whatever the order of their fields."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


_GIVEN: dict[str, Any] = {
    **dict.fromkeys(("id", "user_id", "input_job_id", "rerun_of", "batch_id", "key_id"), Uuid),
    **dict.fromkeys(("model_id", "kind", "family", "prompt", "callback_url", "callback_format"), Text),
    **dict.fromkeys(("input_params", "params", "metadata"), JSONB),
    **dict.fromkeys(("tags", "callback_events"), ARRAY(Text)),
    "priority": SmallInteger,
    "max_attempts": Integer,
    "held": BOOLEAN,
    "cost_units": Numeric,
}
"""Columns of `jobs` that are stored as they are given."""

_COUNTED: dict[str, Any] = {
    **dict.fromkeys(("deadline", "expires_at"), TIME),
    **dict.fromkeys(("deadline_in_s", "expires_in_s"), Float),
}
_UPLOADED: dict[str, Any] = {
    "upload_id": Uuid,
    "upload_key": Text,
    "upload_type": Text,
    "upload_size": Numeric,
    "upload_is_recorded": BOOLEAN,
}


_RETURNED = ("id", "model_id", "state", "attempt", "created_at", "updated_at", "deadline", "expires_at")
"""What only Postgres knows of a new row, and what the line of history needs: see `as_stored`."""


@lru_cache(maxsize=8)
def create_jobs(*, keyed: bool = False, batched: bool = False, uploads: bool = True) -> Select[Any]:
    """Store requests; what Postgres made of them, with the tiers of their models. Built once for each form.

    Binds what `values_of` gives. Without `uploads` none of them may have one: that is most often so, and less
    is to be done. With `keyed` an idempotency key is taken in the same moment: no row comes back, and nothing
    is stored, where its user took it before and it still counts. With `batched` the batch is stored as well.
    """
    named = {**_GIVEN, **_COUNTED, **(_UPLOADED if uploads else {})}
    columns = [column(name, kind) for name, kind in named.items()]
    given = (
        func.jsonb_to_recordset(cast(bindparam("the_jobs", type_=Text), JSONB))
        .table_valued(*columns, name="given")
        .render_derived(with_types=True)
    )
    rows = select(
        *(given.c[name] for name in _GIVEN),
        literal(JobState.QUEUED.value),
        func.coalesce(given.c.deadline, seconds_from_now(given.c.deadline_in_s)),
        func.coalesce(given.c.expires_at, seconds_from_now(given.c.expires_in_s)),
    )
    taken = None
    if keyed:
        taken = _take_key().cte("taken")
        rows = rows.where(exists(select(taken.c.key)))
    created = (
        insert(jobs)
        .from_select([*_GIVEN, "state", "deadline", "expires_at"], rows)
        .returning(*(jobs.c[name] for name in _RETURNED), jobs.c.waits_for)
        .cte("created")
    )
    payload = func.jsonb_build_object("event", "created", "model_id", created.c.model_id)
    tier = select(models.c.tier).where(models.c.id == created.c.model_id).scalar_subquery()
    statement = with_event(created, payload).add_columns(tier.label("tier"))
    if uploads:
        statement = statement.add_cte(_record_uploads(given, created).cte("uploaded"))
    if batched:
        batch = select(
            *(
                bindparam(f"the_batch_{name}", type_=batches.c[name].type)
                for name in ("id", "user_id", "name", "source", "size")
            ),
            cast(bindparam("the_batch_refused", type_=Text), JSONB),
        )
        if taken is not None:
            batch = batch.where(exists(select(taken.c.key)))
        stored = insert(batches).from_select(["id", "user_id", "name", "source", "size", "refused"], batch)
        statement = statement.add_cte(stored.cte("batch"))
    return statement


def _record_uploads(given: Any, created: CTE) -> Any:
    """Name what was uploaded for new requests as theirs.

    An upload whose record has gone makes the statement fail, so that nothing at all is stored: its key
    becomes null. Whoever removes one holds its record, and this waits for the outcome.
    """
    there = (
        select(file_tables.uploads.c.storage_path)
        .where(file_tables.uploads.c.storage_path.in_(select(given.c.upload_key)))
        .with_for_update(read=True, key_share=True)
        .cte("there")
    )
    is_there = or_(~given.c.upload_is_recorded, given.c.upload_key.in_(select(there.c.storage_path)))
    uploaded = (
        select(
            given.c.upload_id,
            created.c.id,
            created.c.attempt,
            literal(UPLOAD_ASSET),
            literal(UPLOAD_NAME),
            literal(ArtifactType.INPUT.value),
            case((is_there, given.c.upload_key)),
            given.c.upload_type,
            given.c.upload_size,
        )
        .join_from(given, created, created.c.id == given.c.id)
        .where(given.c.upload_key.is_not(None))
    )
    names = (
        *("id", "job_id", "attempt", "asset", "name", "type", "storage_path", "content_type"),
        "file_size_bytes",
    )
    return insert(artifacts).from_select(list(names), uploaded)


def _take_key() -> Any:
    """Take an idempotency key that nobody took, or that does not count any more."""
    names = ("user_id", "key", "request_hash", "job_id", "batch_id")
    row = insert(idempotency_keys).values(
        **{name: bindparam(f"the_key_{name}", type_=idempotency_keys.c[name].type) for name in names},
        expires_at=seconds_from_now(KEY_LIFE_S),
    )
    again = {name: row.excluded[name] for name in (*names[2:], "expires_at")}
    return row.on_conflict_do_update(
        index_elements=[idempotency_keys.c.user_id, idempotency_keys.c.key],
        set_={**again, "created_at": func.now(), "status": None, "answer": None},
        where=idempotency_keys.c.expires_at <= func.now(),
    ).returning(idempotency_keys.c.key)


def is_upload_gone(error: BaseException | None) -> bool:
    """Whether `create_jobs` failed because the record of an upload had gone. Both drivers are understood."""
    told = getattr(error, "diag", error)
    column_name = getattr(told, "column_name", None)
    return getattr(error, "sqlstate", None) == NOT_NULL_VIOLATION and column_name == "storage_path"


def values_of(
    new_jobs: Sequence[NewJob], *, key: KeyUse | None = None, batch: NewBatch | None = None
) -> dict[str, Any]:
    """What `create_jobs` binds for these requests, this key and this batch."""
    values: dict[str, Any] = {"the_jobs": encode([_record_of(job) for job in new_jobs], default=str).decode()}
    if key is not None:
        values |= {
            "the_key_user_id": key.user_id,
            "the_key_key": key.key,
            "the_key_request_hash": key.request_hash,
            "the_key_job_id": None if batch is not None else new_jobs[0].id,
            "the_key_batch_id": None if batch is None else batch.id,
        }
    if batch is not None:
        values |= {
            f"the_batch_{name}": getattr(batch, name) for name in ("id", "user_id", "name", "source", "size")
        }
        values["the_batch_refused"] = json.dumps(batch.refused)
    return values


_NOT_BEGUN: dict[str, Any] = {
    **dict.fromkeys(("run_id", "started_at", "completed_at", "not_before", "leased_at", "lease_until")),
    **dict.fromkeys(("error_code", "error_stage", "error_message", "error_hint", "error_retryable")),
    "progress_percent": 0,
    "progress": None,
    "stage_seconds": {},
}


def as_stored(job: NewJob, row: Row[Any]) -> Any:
    """A new request as its row would be read: what was given, and what `create_jobs` brought back."""
    given = {name: getattr(job, name) for name in _GIVEN}
    return SimpleNamespace(**{**_NOT_BEGUN, **given, "tags": list(job.tags), **row._asdict()})


def create_job(job: NewJob) -> Select[Any]:
    """Store one request, as `create_jobs` does."""
    return create_jobs().params(**values_of([job]))


def _record_of(job: NewJob) -> dict[str, Any]:
    record = {name: getattr(job, name) for name in (*_GIVEN, *_COUNTED)}
    if job.upload is not None:
        record |= {
            "upload_id": new_job_id(),
            "upload_key": job.upload.key,
            "upload_type": job.upload.content_type,
            "upload_size": job.upload.size,
            "upload_is_recorded": job.upload.is_recorded,
        }
    return record


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
