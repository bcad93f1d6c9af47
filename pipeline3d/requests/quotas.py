"""How much a user, or a key, may have open and may use in a month: the limits and the statements that count.

A month is a calendar month in UTC. What a job costs is counted when it is accepted, in one guarded statement,
so that two at once never exceed a limit. A trigger on `jobs` gives it back where the job FAILED, EXPIRED or
was CANCELED before it began, and counts it again where such a job is tried again. Nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    Delete,
    Numeric,
    Select,
    Update,
    and_,
    case,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.access_tables import usage
from pipeline3d.database.tables import jobs
from pipeline3d.values import FINISHED_STATES, JobState

OPEN_STATES = tuple(sorted(frozenset(JobState) - FINISHED_STATES))
COST = Numeric(14, 3)
TURN_LOCK = 0x7033_6471
"""Keeps `wait_for_turn` apart from other locks of the database."""


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


def wait_for_turn(user_id: UUID) -> Select[Any]:
    """Wait until no other transaction counts open jobs of this user; others wait for the end of this one."""
    return select(func.pg_advisory_xact_lock(func.hashtextextended(str(user_id), TURN_LOCK)))


def count_open_jobs(user_id: UUID, key_id: UUID | None, at_most: int) -> Select[int]:
    """How many jobs of a user, or of one key of theirs, have not ended; counted up to `at_most`."""
    of_owner = select(jobs.c.id).where(
        jobs.c.user_id == user_id, jobs.c.state.in_(OPEN_STATES), jobs.c.deleted_at.is_(None)
    )
    if key_id is not None:
        of_owner = of_owner.where(jobs.c.key_id == key_id)
    return select(func.count().label("open")).select_from(of_owner.limit(at_most).subquery())


def charge(
    owner_id: UUID, *, is_key: bool, jobs_count: int, cost_units: Decimal, limit: Decimal
) -> Select[Any]:
    """Count jobs and their cost for this month; no row comes back where the limit would be exceeded.

    The first time in a month, or since a limit was set, what was used before is added up from the jobs.
    """
    known = exists().where(usage.c.owner_id == owner_id, usage.c.month == this_month())
    before = _used(owner_id, is_key=is_key).subquery()
    start_units = case((known, literal(0, COST)), else_=select(before.c.units).scalar_subquery())
    start_jobs = case((known, literal(0)), else_=select(before.c.jobs).scalar_subquery())
    counted = select(
        literal(owner_id, usage.c.owner_id.type).label("owner_id"),
        this_month().label("month"),
        (start_jobs + jobs_count).label("jobs"),
        (start_units + literal(cost_units, COST)).label("cost_units"),
    ).subquery()
    row = insert(usage).from_select(
        ["owner_id", "month", "jobs", "cost_units"],
        select(counted).where(counted.c.cost_units <= limit),
    )
    upsert = row.on_conflict_do_update(
        index_elements=[usage.c.owner_id, usage.c.month],
        set_={
            "jobs": usage.c.jobs + jobs_count,
            "cost_units": usage.c.cost_units + literal(cost_units, COST),
        },
        where=usage.c.cost_units + literal(cost_units, COST) <= limit,
    ).returning(usage.c.cost_units)
    charged = upsert.cte("charged")
    return select(charged.c.cost_units)


def give_back(owner_id: UUID, *, jobs_count: int, cost_units: Decimal) -> Update:
    """Take back what `charge` counted for jobs that were not stored after all."""
    return (
        update(usage)
        .where(usage.c.owner_id == owner_id, usage.c.month == this_month())
        .values(
            jobs=func.greatest(0, usage.c.jobs - jobs_count),
            cost_units=func.greatest(0, usage.c.cost_units - literal(cost_units, COST)),
        )
    )


def read_used(owner_id: UUID, *, is_key: bool) -> Select[Any, Any]:
    """What a user or a key has used this month, and the seconds until the next one begins."""
    next_month = func.timezone(
        "UTC", func.date_trunc("month", func.timezone("UTC", func.now()))
    ) + func.make_interval(0, 1)
    counted = (
        select(usage.c.cost_units)
        .where(usage.c.owner_id == owner_id, usage.c.month == this_month())
        .scalar_subquery()
    )
    added_up = select(_used(owner_id, is_key=is_key).subquery().c.units).scalar_subquery()
    return select(
        func.coalesce(counted, added_up).label("cost_units"),
        func.extract("epoch", next_month - func.now()).label("seconds_left"),
    )


def forget_used(owner_ids: Sequence[UUID]) -> Delete:
    """Have the use of this month added up anew; for whom a limit was set or taken away."""
    return delete(usage).where(usage.c.owner_id.in_(owner_ids), usage.c.month == this_month())


def _used(owner_id: UUID, *, is_key: bool) -> Select[Any, Any]:
    """What a user's, or a key's, jobs of this month cost, added up from the jobs."""
    owner = jobs.c.key_id if is_key else jobs.c.user_id
    begins = func.timezone("UTC", func.date_trunc("month", func.timezone("UTC", func.now())))
    return select(
        func.count().label("jobs"),
        func.coalesce(func.sum(jobs.c.cost_units), 0).label("units"),
    ).where(owner == owner_id, jobs.c.created_at >= begins, ~is_given_back())


def is_given_back() -> ColumnElement[bool]:
    """Whether a job does not count: the trigger on `jobs` (migration 0007) says the same."""
    return or_(
        jobs.c.state.in_([JobState.FAILED, JobState.EXPIRED]),
        and_(jobs.c.state == JobState.CANCELED, jobs.c.started_at.is_(None)),
    )
