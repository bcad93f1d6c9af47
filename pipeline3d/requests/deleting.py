"""Deleting a request as its owner asks for it: at once nobody sees it any more, and its removal is begun.

What waits is ended and what runs is asked to stop, as by a cancel. The row stays, marked, until `removal` has
taken away everything that the request left outside of it. Pure functions that return statements.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.tables import idempotency_keys, jobs
from pipeline3d.requests.changes import stop_run_of
from pipeline3d.requests.history import with_event
from pipeline3d.requests.reading import IS_VISIBLE
from pipeline3d.values import EventType, JobState, Kind

REMOVALS_CHANNEL = "pipeline3d_removals"
"""Told the id of a request whenever one is to be removed: wakes whoever removes."""

_UNFINISHED = (JobState.QUEUED.value, JobState.RUNNING.value, JobState.CANCELING.value)
_TAKING_A_SOURCE = (Kind.SCENE_TO_3D.value, Kind.EXPORT_MODEL.value)


def request_deletion(job_id: UUID, user_id: UUID) -> Select[Any]:
    """Mark a request of this user as deleted, end or stop it, and tell whoever removes.

    No row comes back where there is none, or where another request still needs its files. The key under which
    it was made is free again. A lease stays, so that the removal waits for a run that is on its way.
    """
    queued, running = jobs.c.state == JobState.QUEUED, jobs.c.state == JobState.RUNNING
    asked = (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.user_id == user_id, IS_VISIBLE, ~needed_by(job_id, user_id))
        .values(
            state=case(
                (queued, JobState.CANCELED.value), (running, JobState.CANCELING.value), else_=jobs.c.state
            ),
            completed_at=case((queued, func.now()), else_=jobs.c.completed_at),
            cancel_requested_at=case((or_(queued, running), func.now()), else_=jobs.c.cancel_requested_at),
            deleted_at=func.now(),
            updated_at=func.now(),
            idempotency_key=None,
            request_hash=None,
        )
        .returning(jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.run_id)
        .cte("asked")
    )
    forgotten = (
        delete(idempotency_keys)
        .where(idempotency_keys.c.user_id == user_id, idempotency_keys.c.job_id.in_(select(asked.c.id)))
        .cte("forgotten")
    )
    told = literal({"event": "deleted"}, JSONB)
    return (
        with_event(asked, told, event_type=EventType.WARNING, makes_room=True)
        .add_columns(
            stop_run_of(asked).label("told_workers"),
            func.pg_notify(REMOVALS_CHANNEL, cast(asked.c.id, Text)).label("told_remover"),
        )
        .add_cte(forgotten)
    )


def list_dependents(job_id: UUID, user_id: UUID, *, limit: int) -> Select[Any]:
    """Unfinished requests that need the files of this one."""
    other = jobs.alias("other")
    return (
        select(other.c.id)
        .where(_needs(other, job_id, user_id))
        .order_by(other.c.created_at, other.c.id)
        .limit(limit)
    )


def needed_by(job_id: ColumnElement[UUID] | UUID, user_id: ColumnElement[UUID] | UUID) -> ColumnElement[bool]:
    """Whether an unfinished request needs the files of this one."""
    other = jobs.alias("other")
    return select(other.c.id).where(_needs(other, job_id, user_id)).exists()


def is_being_deleted(job_id: UUID, user_id: UUID) -> Select[Any]:
    """A row where this user has asked for the end of this request, which is not removed yet."""
    return select(jobs.c.id).where(
        jobs.c.id == job_id, jobs.c.user_id == user_id, jobs.c.deleted_at.is_not(None)
    )


def _needs(
    other: Any, job_id: ColumnElement[UUID] | UUID, user_id: ColumnElement[UUID] | UUID
) -> ColumnElement[bool]:
    takes_model = or_(other.c.input_job_id == job_id, other.c.waits_for == job_id)
    source = other.c.params.op("->>")(literal_column("'source_job_id'"))
    as_text = cast(literal(job_id) if isinstance(job_id, UUID) else job_id, Text)
    takes_source = and_(other.c.kind.in_(_TAKING_A_SOURCE), source == as_text)
    return and_(
        # a chain is made of one user's requests, and so the index of that user's unfinished ones serves all
        other.c.user_id == user_id,
        other.c.state.in_(_UNFINISHED),
        other.c.deleted_at.is_(None),
        or_(takes_model, takes_source),
    )
