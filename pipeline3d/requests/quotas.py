"""How much a user, or a key, may have open and may use in a month: the limits and the statements that count.

A month is a calendar month in UTC. What a job costs is counted in the transaction that stores it, so that a
crash at any moment leaves both or neither, and for as long as the job counts it does so in the month in which
it was made. A trigger on `jobs` gives it back where the job FAILED, EXPIRED or was CANCELED before it began,
and counts it again where such a job is tried again. Nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Delete,
    Integer,
    Numeric,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import INTERVAL, insert

from pipeline3d.database.access_tables import usage
from pipeline3d.database.columns import TIME
from pipeline3d.database.tables import jobs
from pipeline3d.requests.pruning import Sweep
from pipeline3d.values import FINISHED_STATES, JobState

OPEN_STATES = tuple(sorted(frozenset(JobState) - FINISHED_STATES))
TURN_LOCK = 0x7033_6471
"""Keeps `wait_for_turn` apart from other locks of the database."""
LONGEST_PAUSE_MS = 10_000
"""A process that stands still amid its turn, as where its machine sleeps, holds others up for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What somebody may use; None is no limit of one's own."""

    max_open_jobs: int | None = None
    requests_per_minute: int | None = None
    monthly_cost_units: float | None = None


NO_LIMITS = Limits()
LIMITS = ("max_open_jobs", "requests_per_minute", "monthly_cost_units")
"""The columns of users and of keys that hold them."""


def as_cost(units: float) -> Decimal:
    """Cost units as they are stored: thousandths."""
    return Decimal(str(units)).quantize(Decimal("0.001"))


def this_month() -> ColumnElement[Any]:
    """The first day of this month."""
    return cast(func.date_trunc("month", func.timezone("UTC", func.now())), Date)


def first_of_month(moment: datetime) -> date:
    """The first day of the month in which something was made."""
    return moment.astimezone(UTC).date().replace(day=1)


def begin_of(month: ColumnElement[Any], *, months_later: int = 0) -> ColumnElement[Any]:
    """The moment at which a month begins, or one some months later: in UTC, whatever the session's zone."""
    months = func.make_interval(0, months_later, type_=INTERVAL)
    return func.timezone("UTC", cast(month, DateTime(timezone=False)) + months, type_=TIME)


@lru_cache(maxsize=1)
def wait_for_turn() -> Select[Any]:
    """Wait until no other transaction counts for `the_user`, a text; others wait for the end of this one."""
    key = func.hashtextextended(bindparam("the_user", type_=Text), TURN_LOCK)
    return select(
        func.pg_advisory_xact_lock(key),
        func.set_config("idle_in_transaction_session_timeout", str(LONGEST_PAUSE_MS), True),
    )


@lru_cache(maxsize=2)
def count_open_jobs(*, of_key: bool = False) -> Select[int]:
    """How many jobs of `the_user`, or of one key of theirs, have not ended; counted up to `at_most`.

    Binds `the_key` where it is of a key.
    """
    of_owner = select(jobs.c.id).where(
        jobs.c.user_id == bindparam("the_user", type_=Uuid),
        jobs.c.state.in_(OPEN_STATES),
        jobs.c.deleted_at.is_(None),
    )
    if of_key:
        of_owner = of_owner.where(jobs.c.key_id == bindparam("the_key", type_=Uuid))
    counted = of_owner.limit(bindparam("at_most", type_=Integer)).subquery()
    return select(func.count().label("open")).select_from(counted)


@lru_cache(maxsize=2)
def charge(*, is_key: bool) -> Select[Any, Any, Any]:
    """Count jobs that this transaction has stored; `is_charged` is false where the limit would be exceeded.

    Binds `the_owner`, a user or a key, `the_jobs`, `the_units` and `the_limit`. Brings back what was used
    before (`cost_units`), and the seconds until the next month begins. The first time in a month, or since a
    limit was set, what was used before is added up from the jobs. The caller has waited for its turn and
    takes back all that it stored where it is not charged.
    """
    month = this_month()
    owner: ColumnElement[UUID] = bindparam("the_owner", type_=Uuid)
    more_jobs: ColumnElement[int] = bindparam("the_jobs", type_=Integer)
    cost: ColumnElement[Decimal] = bindparam("the_units", type_=Numeric)
    limit: ColumnElement[Decimal] = bindparam("the_limit", type_=Numeric)
    known = select(usage.c.cost_units).where(usage.c.owner_id == owner, usage.c.month == month)
    stored = _add_up(owner, month, is_key=is_key)
    first = select(
        owner.label("owner_id"),
        month.label("month"),
        case((known.exists(), more_jobs), else_=stored.with_only_columns(func.count()).scalar_subquery()),
        case((known.exists(), cost), else_=stored.scalar_subquery()).label("cost_units"),
    ).subquery()
    row = insert(usage).from_select(
        ["owner_id", "month", "jobs", "cost_units"], select(first).where(first.c.cost_units <= limit)
    )
    charged = (
        row.on_conflict_do_update(
            index_elements=[usage.c.owner_id, usage.c.month],
            set_={"jobs": usage.c.jobs + more_jobs, "cost_units": usage.c.cost_units + cost},
            where=usage.c.cost_units + cost <= limit,
        )
        .returning(usage.c.owner_id)
        .cte("charged")
    )
    before = func.coalesce(known.scalar_subquery(), stored.scalar_subquery() - cost)
    return select(
        exists(select(charged.c.owner_id)).label("is_charged"), before.label("cost_units"), _seconds_left()
    )


def read_used(owner_id: UUID, month: date, *, is_key: bool) -> Select[Any, Any, Any]:
    """What a user or a key has used in a month; which month it is now, and the seconds until the next."""
    first = literal(month, Date)
    counted = select(usage.c.cost_units).where(usage.c.owner_id == owner_id, usage.c.month == first)
    added_up = _add_up(owner_id, first, is_key=is_key)
    used = func.coalesce(counted.scalar_subquery(), added_up.scalar_subquery())
    return select(used.label("cost_units"), this_month().label("this_month"), _seconds_left())


def forget_used(owner_ids: Sequence[UUID]) -> Delete:
    """Have the use of this month added up anew; for whom a limit was set or taken away."""
    return delete(usage).where(usage.c.owner_id.in_(owner_ids), usage.c.month == this_month())


def old_months(before: datetime) -> Sweep:
    """What was counted in months that ended before that moment; what a limit asks for is added up anew."""
    return Sweep(
        what="months of use",
        key=func.concat(usage.c.month, usage.c.owner_id),
        past=begin_of(usage.c.month, months_later=1) <= before,
        in_table=usage,
    )


def _add_up(owner_id: ColumnElement[UUID] | UUID, month: ColumnElement[Any], *, is_key: bool) -> Select[Any]:
    """What the jobs of a user, or of a key, of a month cost, added up from the jobs."""
    owner = jobs.c.key_id if is_key else jobs.c.user_id
    return select(func.coalesce(func.sum(jobs.c.cost_units), 0)).where(
        owner == owner_id,
        jobs.c.created_at >= begin_of(month),
        jobs.c.created_at < begin_of(month, months_later=1),
        ~is_given_back(),
    )


def _seconds_left() -> ColumnElement[Any]:
    left = begin_of(this_month(), months_later=1) - func.now()
    return func.extract("epoch", left).label("seconds_left")


def is_given_back() -> ColumnElement[bool]:
    """Whether a job does not count: the trigger on `jobs` (migration 0008) says the same."""
    return or_(
        jobs.c.state.in_([JobState.FAILED, JobState.EXPIRED]),
        and_(jobs.c.state == JobState.CANCELED, jobs.c.started_at.is_(None)),
    )
