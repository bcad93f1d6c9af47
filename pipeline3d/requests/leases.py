"""Statements that lease queued requests to a dispatcher, so that two never start the same one.

A lease only says who is bringing the request to its run; it ends by itself. Every moment is by the clock of
Postgres. The functions are pure and return statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal, literal_column, or_, select, true, update
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB

from pipeline3d.database.tables import jobs, models
from pipeline3d.requests.history import with_event
from pipeline3d.values import Kind

# Written into the statement, not bound: only so does a prepared statement keep to the index of queued rows.
IS_QUEUED = jobs.c.state == literal_column("'QUEUED'")


def claim_queued(limit: int, lease_s: float, kinds: Sequence[Kind] | None = None) -> Select[Any]:
    """Lease the most urgent, then oldest, queued requests that nobody holds; `kinds` None is every kind."""
    picked = (
        select(jobs.c.id, jobs.c.leased_at)
        .where(claimable(), jobs.c.kind.in_(kinds) if kinds is not None else true())
        .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    claimed = (
        update(jobs)
        .where(jobs.c.id == picked.c.id, models.c.id == jobs.c.model_id)
        .values(
            # kept from the first lease of the attempt, see `list_undispatched`
            leased_at=func.coalesce(jobs.c.leased_at, func.now()),
            lease_until=seconds_from_now(lease_s),
            updated_at=func.now(),
        )
        .returning(*claim_columns(), jobs.c.state, jobs.c.created_at, picked.c.leased_at.label("held_before"))
        .cte("claimed")
    )
    return with_event(
        claimed,
        literal({"event": "dispatched"}, JSONB),
        # a lease that is taken again is nothing new
        where=claimed.c.held_before.is_(None),
        # the row stays QUEUED: telling the dispatcher of its own claim would wake it for ever
        wakes_dispatcher=False,
    )


def claimable() -> ColumnElement[bool]:
    """Which rows a dispatcher may lease now."""
    return and_(
        IS_QUEUED,
        _past_or_unset(jobs.c.lease_until),
        _past_or_unset(jobs.c.not_before),
        or_(jobs.c.deadline.is_(None), jobs.c.deadline > func.now()),
    )


def claim_columns() -> tuple[ColumnElement[Any], ...]:
    """The columns that make a `Claim`; the statement joins `models`."""
    names = ("id", "attempt", "kind", "family", "model_id", "user_id", "priority")
    return (*(jobs.c[name] for name in names), models.c.queue)


def seconds_until_claimable() -> Select[Any]:
    """Seconds until the next queued request may be leased: 0 is now, no value is that none is queued."""
    moment = func.greatest(
        func.coalesce(jobs.c.lease_until, func.now()),
        func.coalesce(jobs.c.not_before, func.now()),
        func.now(),
    )
    wait = func.extract("epoch", func.min(moment) - func.now())
    return select(wait).where(IS_QUEUED, or_(jobs.c.deadline.is_(None), jobs.c.deadline > func.now()))


def renew_lease(job_id: UUID, attempt: int, lease_s: float) -> Any:
    """Confirm that a leased attempt is still on its way to its run."""
    return (
        update(jobs)
        .where(
            jobs.c.id == job_id,
            jobs.c.attempt == attempt,
            IS_QUEUED,
            jobs.c.leased_at.is_not(None),
        )
        .values(leased_at=func.now(), lease_until=seconds_from_now(lease_s), updated_at=func.now())
        .returning(jobs.c.state)
    )


def list_undispatched(leased_longer_than_s: float) -> Select[Any]:
    """Queued requests that were leased that long ago, have not begun, and were not confirmed since.

    It goes by the first lease of the attempt (or its last `renew_lease`), not by the end of the lease: a
    dispatcher that leases an expired row again must not hide it from whoever asks what became of its run.
    """
    return (
        select(*claim_columns(), jobs.c.created_at)
        .join(models, models.c.id == jobs.c.model_id)
        .where(
            IS_QUEUED,
            jobs.c.leased_at <= func.now() - make_seconds(leased_longer_than_s),
        )
        .order_by(jobs.c.leased_at)
    )


def seconds_from_now(seconds: float) -> ColumnElement[Any]:
    """A moment that Postgres computes, so that no clock but its own counts."""
    return func.now() + make_seconds(seconds)


def make_seconds(seconds: float) -> ColumnElement[Any]:
    """An interval."""
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=INTERVAL)


def _past_or_unset(moment: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(moment.is_(None), moment <= func.now())
