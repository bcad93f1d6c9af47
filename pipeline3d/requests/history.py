"""The line of history and the NOTIFY that go with every change of a request, in the same statement.

What the history says and what the row says can never differ: they are one statement and commit together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Update,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import CTE

from pipeline3d.database.tables import job_events, jobs
from pipeline3d.values import EventType, JobState

QUEUE_CHANNEL = "pipeline3d_jobs"
"""Told the id of a request whenever it becomes QUEUED, or makes room for another: wakes the dispatcher."""

CHANGES_CHANNEL = "pipeline3d_job_changes"
"""Told the id of a request whenever anything about it changes: wakes those who watch it."""


def build_change(
    change: Update,
    payload: Mapping[str, Any],
    *,
    event_type: EventType = EventType.INFO,
    columns: tuple[str, ...] = (),
    makes_room: bool = False,
) -> Select[Any]:
    """Complete a guarded update: its line of history and its NOTIFY in the same statement.

    `makes_room` says that the change may let another request start, by a limit that is no longer reached.
    """
    changed = (
        change.values(updated_at=func.now())
        .returning(jobs.c.id, jobs.c.state, jobs.c.attempt, *(jobs.c[name] for name in columns))
        .cte("changed")
    )
    whole: ColumnElement[Any] = literal(dict(payload), JSONB)
    for name in columns:
        whole = whole.op("||")(func.jsonb_build_object(name, changed.c[name]))
    return with_event(changed, whole, event_type=event_type, makes_room=makes_room)


def with_event(
    changed: CTE,
    payload: ColumnElement[Any],
    *,
    event_type: EventType = EventType.INFO,
    where: ColumnElement[bool] | None = None,
    wakes_dispatcher: bool = True,
    makes_room: bool = False,
) -> Select[Any]:
    """Add to a change its line of history (for the rows where `where` holds) and its NOTIFY."""
    kept = func.jsonb_build_object("state", changed.c.state, "attempt", changed.c.attempt)
    severity = case((changed.c.state == JobState.FAILED, EventType.ERROR.value), else_=event_type.value)
    line = select(changed.c.id, severity, payload.op("||")(kept))
    if where is not None:
        line = line.where(where)
    told = insert(job_events).from_select(["job_id", "event_type", "payload"], line).cte("told")
    return notified(changed, wakes_dispatcher=wakes_dispatcher, makes_room=makes_room).add_cte(told)


def notified(changed: CTE, *, wakes_dispatcher: bool = True, makes_room: bool = False) -> Select[Any]:
    """Bring back what changed and tell of it, on commit, those who watch and (if queued) the dispatcher."""
    job_id = cast(changed.c.id, Text)
    told = select(*changed.c, func.pg_notify(CHANGES_CHANNEL, job_id).label("told_watchers"))
    if not wakes_dispatcher:
        return told
    matters = changed.c.state == JobState.QUEUED
    if makes_room:
        matters = or_(matters, _another_waits(changed.c.id))
    return told.add_columns(case((matters, func.pg_notify(QUEUE_CHANNEL, job_id))).label("told_dispatcher"))


def _another_waits(job_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    """Whether a request is queued that nobody has dispatched: only then is room of any use."""
    other = jobs.alias("other")
    return exists().where(
        other.c.state == literal_column("'QUEUED'"),
        ~other.c.held,
        other.c.waits_for.is_(None),
        other.c.lease_until.is_(None),
        other.c.id != job_id,
    )
