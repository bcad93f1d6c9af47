"""Queries over batches: requests that came together. Pure functions that return statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, exists, func, select

from pipeline3d.database.tables import batches, jobs
from pipeline3d.requests.pruning import Sweep
from pipeline3d.requests.reading import IS_VISIBLE


def read_batch(user_id: UUID, batch_id: UUID) -> Select[Any]:
    """A batch of a user."""
    return select(batches).where(batches.c.id == batch_id, batches.c.user_id == user_id)


def list_batches(user_id: UUID, *, before: UUID | None, limit: int) -> Select[Any]:
    """The batches of a user, newest first: their ids sort by the time of their making."""
    page = select(batches).where(batches.c.user_id == user_id)
    if before is not None:
        page = page.where(batches.c.id < before)
    return page.order_by(batches.c.id.desc()).limit(limit)


def count_states(batch_ids: Sequence[UUID]) -> Select[Any]:
    """How many requests of each of these batches are in each state."""
    return (
        select(jobs.c.batch_id, jobs.c.state, func.count().label("jobs"))
        .where(jobs.c.batch_id.in_(batch_ids), IS_VISIBLE)
        .group_by(jobs.c.batch_id, jobs.c.state)
    )


def list_jobs_of(batch_id: UUID) -> Select[Any]:
    """The requests of a batch, in the order in which they came."""
    names = ("id", "model_id", "state")
    return (
        select(*(jobs.c[name] for name in names))
        .where(jobs.c.batch_id == batch_id, IS_VISIBLE)
        .order_by(jobs.c.id)
    )


def empty_batches(before: datetime) -> Sweep:
    """The batches that are older than that moment and have no request any more, if they ever had one."""
    return Sweep(
        what="empty batches",
        key=batches.c.id,
        past=and_(batches.c.created_at < before, ~exists().where(jobs.c.batch_id == batches.c.id)),
        ordered_by=batches.c.created_at,
        until=before,
    )
