"""The line of history and the NOTIFY that go with every change of a request, in the same statement.

What the history says and what the row says can never differ: they are one statement and commit together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, Update, case, cast, func, insert, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import CTE

from pipeline3d.database.tables import job_events, jobs
from pipeline3d.values import EventType, JobState

QUEUE_CHANNEL = "pipeline3d_jobs"
"""Told the id of a request whenever it becomes QUEUED: wakes the dispatcher."""

CHANGES_CHANNEL = "pipeline3d_job_changes"
"""Told the id of a request whenever anything about it changes: wakes those who watch it."""


def build_change(
    change: Update,
    payload: Mapping[str, Any],
    *,
    event_type: EventType = EventType.INFO,
    columns: tuple[str, ...] = (),
) -> Select[Any]:
    """Complete a guarded update: its line of history and its NOTIFY in the same statement."""
    changed = (
        change.values(updated_at=func.now())
        .returning(jobs.c.id, jobs.c.state, jobs.c.attempt, *(jobs.c[name] for name in columns))
        .cte("changed")
    )
    whole: ColumnElement[Any] = literal(dict(payload), JSONB)
    for name in columns:
        whole = whole.op("||")(func.jsonb_build_object(name, changed.c[name]))
    return with_event(changed, whole, event_type=event_type)


def with_event(
    changed: CTE,
    payload: ColumnElement[Any],
    *,
    event_type: EventType = EventType.INFO,
    where: ColumnElement[bool] | None = None,
    wakes_dispatcher: bool = True,
) -> Select[Any]:
    """Add to a change its line of history (for the rows where `where` holds) and its NOTIFY."""
    kept = func.jsonb_build_object("state", changed.c.state, "attempt", changed.c.attempt)
    severity = case((changed.c.state == JobState.FAILED, EventType.ERROR.value), else_=event_type.value)
    line = select(changed.c.id, severity, payload.op("||")(kept))
    if where is not None:
        line = line.where(where)
    told = insert(job_events).from_select(["job_id", "event_type", "payload"], line).cte("told")
    return notified(changed, wakes_dispatcher=wakes_dispatcher).add_cte(told)


def notified(changed: CTE, *, wakes_dispatcher: bool = True) -> Select[Any]:
    """Bring back what changed and tell of it, on commit, those who watch and (if queued) the dispatcher."""
    job_id = cast(changed.c.id, Text)
    told = select(*changed.c, func.pg_notify(CHANGES_CHANNEL, job_id).label("told_watchers"))
    if not wakes_dispatcher:
        return told
    queued = changed.c.state == JobState.QUEUED
    return told.add_columns(case((queued, func.pg_notify(QUEUE_CHANNEL, job_id))).label("told_dispatcher"))
