"""Claiming: the requests whose turn it is are leased to a dispatcher, and how it knows that there are some.

A claim is two statements under one lock: limits are counted over all rows, so of two dispatchers at once the
second must see what the first one took. The functions are pure and return statements, one for each shape; the
number of requests is bound as `at_most`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    and_,
    any_,
    bindparam,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.tables import jobs, models
from pipeline3d.requests.admission import Admission
from pipeline3d.requests.history import with_event
from pipeline3d.requests.leases import IS_QUEUED, claim_columns, claimable, seconds_from_now
from pipeline3d.requests.turns import AT_MOST, count_startable, plan_turns
from pipeline3d.values import Kind

CLAIM_LOCK = 0x7033_6474
LONGEST_PAUSE_MS = 5000
"""A dispatcher that dies between the two statements holds the others up for this long."""

# Planning these statements takes several times as long as running them, and no value would change the plan.
PLANNED_ONCE = ("plan_cache_mode", "force_generic_plan")
PLANNED_AS_USUAL = ("plan_cache_mode", "auto")

LOOK_AGAIN_S = 5.0
"""Longest time between two looks of one who waits."""

AFTER_ANOTHER_S = 0.02
"""Whoever came too late looks again after this: what it saw is being claimed by another in this moment."""

MOST_LOOKED_AT = 100
"""Waiting requests that are looked at to tell whether a claim is worth while."""


def lock_claims() -> Select[Any]:
    """Let one dispatcher claim at a time, until the transaction ends."""
    return select(
        func.pg_advisory_xact_lock(CLAIM_LOCK),
        func.set_config("idle_in_transaction_session_timeout", str(LONGEST_PAUSE_MS), True),
        func.set_config(*PLANNED_ONCE, True),
    )


@contextmanager
def planned_once(connection: Connection) -> Iterator[None]:
    """Within the block, the connection plans a prepared statement once for all."""
    connection.execute(select(func.set_config(*PLANNED_ONCE, False)))
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.execute(select(func.set_config(*PLANNED_AS_USUAL, False)))


@lru_cache(maxsize=16)
def claim_queued(kinds: tuple[Kind, ...] | None = None, admission: Admission | None = None) -> Select[Any]:
    """Lease the requests whose turn it is; `kinds` None is every kind. Binds `at_most` and `lease_s`."""
    turns = plan_turns(kinds, admission)
    picked = (
        select(turns.c.id, turns.c.turn)
        .where(turns.c.place <= turns.c.room)
        .order_by(turns.c.priority.desc(), turns.c.turn, turns.c.created_at, turns.c.id)
        .limit(AT_MOST)
        .cte("picked")
    )
    locked = (
        select(jobs.c.id)
        # asked again of the row as it is now: whoever was quicker has leased or ended it
        .where(_is_among(picked.c.id), claimable())
        .with_for_update(skip_locked=True)
        .cte("locked")
    )
    turn = select(picked.c.turn).where(picked.c.id == jobs.c.id).scalar_subquery()
    claimed = (
        update(jobs)
        .where(_is_among(locked.c.id), models.c.id == jobs.c.model_id)
        .values(
            # kept from the first lease of the attempt, see `list_undispatched`
            leased_at=func.coalesce(jobs.c.leased_at, func.now()),
            lease_until=seconds_from_now(bindparam("lease_s", type_=Float)),
            updated_at=func.now(),
        )
        .returning(
            *claim_columns(),
            *(jobs.c[name] for name in ("state", "created_at")),
            turn.label("turn"),
            (jobs.c.leased_at == func.now()).label("is_new"),
        )
        .cte("claimed")
    )
    return with_event(
        claimed,
        literal({"event": "dispatched"}, JSONB),
        # a lease that is taken again is nothing new
        where=claimed.c.is_new,
        # the row stays QUEUED: telling the dispatcher of its own claim would wake it for ever
        wakes_dispatcher=False,
    )


@lru_cache(maxsize=16)
def look_ahead(kinds: tuple[Kind, ...] | None = None, admission: Admission | None = None) -> Select[Any]:
    """Whether a claim is worth while now (`ready`), and if not, after how many seconds to look again.

    Under load it is worth while when half of a queue's depth is free, so that a dispatcher takes several
    at once; otherwise as soon as everything that waits finds room. `seconds` is None where no moment is known
    that would change the answer: then only a NOTIFY does. Binds `at_most`.
    """
    queues = count_startable(kinds, admission)
    enough = or_(queues.c.startable <= queues.c.room, 2 * queues.c.room >= queues.c.depth)
    worth = and_(queues.c.startable > 0, enough)
    ready = select(func.coalesce(func.bool_or(worth), False)).select_from(queues).scalar_subquery()
    return select(ready.label("ready"), _seconds_until_next_moment().label("seconds"))


def _is_among(ids: ColumnElement[UUID]) -> ColumnElement[bool]:
    """An array, not a join: however wrong the estimate of its length, each row is found by its key."""
    return jobs.c.id == any_(func.array(select(ids).scalar_subquery()))


def _seconds_until_next_moment() -> ColumnElement[Any]:
    """Seconds until a lease ends or a retry's time comes, whichever is first."""
    moments = [
        select(func.min(moment).label("moment")).where(IS_QUEUED, moment > func.now())
        for moment in (jobs.c.lease_until, jobs.c.not_before)
    ]
    both = union_all(*moments).subquery("moments")
    wait = func.extract("epoch", func.min(both.c.moment) - func.now())
    return select(wait).scalar_subquery()
