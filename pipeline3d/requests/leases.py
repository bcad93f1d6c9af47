"""Leases of queued requests: what may be leased, what was, and how a lease is renewed.

A lease only says that somebody is bringing the request to its run; it ends by itself. Every moment is by the
clock of Postgres. The functions are pure and return statements; `claiming` hands leases out.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import INTERVAL

from pipeline3d.database.tables import jobs, models

# Written into the statement, not bound: only so does a prepared statement keep to the index of queued rows.
IS_QUEUED = jobs.c.state == literal_column("'QUEUED'")

IS_IN_LINE = and_(IS_QUEUED, ~jobs.c.held, jobs.c.waits_for.is_(None))
"""Queued, neither held by its owner nor waiting for another request: the condition of the index of turns."""

IS_SET_ASIDE = and_(IS_QUEUED, or_(jobs.c.held, jobs.c.waits_for.is_not(None)))
"""Queued, and not before it is released or another request has succeeded."""


def claimable() -> ColumnElement[bool]:
    """Which rows a dispatcher may lease now."""
    return and_(
        IS_IN_LINE,
        past_or_unset(jobs.c.lease_until),
        past_or_unset(jobs.c.not_before),
        or_(jobs.c.deadline.is_(None), jobs.c.deadline > func.now()),
    )


def claim_columns() -> tuple[ColumnElement[Any], ...]:
    """The columns that make a `Claim`; the statement joins `models`."""
    names = ("id", "attempt", "kind", "family", "model_id", "user_id", "priority", "params")
    return (*(jobs.c[name] for name in names), models.c.queue)


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
            jobs.c.lease_until.is_not(None),  # so that the index of dispatched ones is used
            jobs.c.leased_at <= func.now() - make_seconds(leased_longer_than_s),
        )
        .order_by(jobs.c.leased_at)
    )


def seconds_from_now(seconds: float | ColumnElement[Any]) -> ColumnElement[Any]:
    """A moment that Postgres computes, so that no clock but its own counts."""
    return func.now() + make_seconds(seconds)


def make_seconds(seconds: float | ColumnElement[Any]) -> ColumnElement[Any]:
    """An interval."""
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=INTERVAL)


def past_or_unset(moment: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a moment holds nothing back any more."""
    return or_(moment.is_(None), moment <= func.now())
