"""Claiming: the requests whose turn it is are leased to a dispatcher, and how it knows that there are some.

A claim is two statements under one lock: limits are counted over all rows, so of two dispatchers at once the
second must see what the first one took. The functions are pure and return statements, one for each shape; the
number of requests is bound as `at_most`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Select,
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
from pipeline3d.requests.turns import AT_MOST, plan_turns
from pipeline3d.values import Kind

CLAIM_LOCK = 0x7033_6474
LONGEST_PAUSE_MS = 5000
"""A dispatcher that dies between the two statements holds the others up for this long."""

MOST_LOOKED_AT = 100
"""Waiting requests that are looked at to tell whether a claim is worth while."""


def lock_claims() -> Select[Any]:
    """Let one dispatcher claim at a time, until the transaction ends."""
    return select(
        func.pg_advisory_xact_lock(CLAIM_LOCK),
        func.set_config("idle_in_transaction_session_timeout", str(LONGEST_PAUSE_MS), True),
    )


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
    # An array, not a join: however wrong the estimate of its length, each row is found by its key.
    ids = func.array(select(picked.c.id).scalar_subquery())
    locked = (
        select(jobs.c.id, jobs.c.leased_at)
        # asked again of the row as it is now: whoever was quicker has leased or ended it
        .where(jobs.c.id == any_(ids), claimable())
        .with_for_update(skip_locked=True)
        .cte("locked")
    )
    claimed = (
        update(jobs)
        .where(jobs.c.id == locked.c.id, models.c.id == jobs.c.model_id, picked.c.id == locked.c.id)
        .values(
            # kept from the first lease of the attempt, see `list_undispatched`
            leased_at=func.coalesce(jobs.c.leased_at, func.now()),
            lease_until=seconds_from_now(bindparam("lease_s", type_=Float)),
            updated_at=func.now(),
        )
        .returning(
            *claim_columns(),
            *(jobs.c[name] for name in ("state", "created_at")),
            picked.c.turn,
            locked.c.leased_at.label("held_before"),
        )
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


@lru_cache(maxsize=16)
def look_ahead(kinds: tuple[Kind, ...] | None = None, admission: Admission | None = None) -> Select[Any]:
    """Whether a claim is worth while now (`ready`), and if not, after how many seconds to look again.

    Under load it is worth while when half of a queue's depth is free, so that a dispatcher takes several
    at once; otherwise as soon as everything that waits finds room. `seconds` is None where no moment is known
    that would change the answer: then only a NOTIFY does. Binds `at_most`.
    """
    turns = plan_turns(kinds, admission)
    of_queue = (
        select(turns.c.depth, turns.c.room, func.count().label("waiting"))
        .group_by(turns.c.queue, turns.c.depth, turns.c.room)
        .cte("of_queue")
    )
    worth = or_(of_queue.c.waiting <= of_queue.c.room, 2 * of_queue.c.room >= of_queue.c.depth)
    ready = select(func.coalesce(func.bool_or(worth), False)).select_from(of_queue).scalar_subquery()
    return select(ready.label("ready"), _seconds_until_next_moment().label("seconds"))


def _seconds_until_next_moment() -> ColumnElement[Any]:
    """Seconds until a lease ends or a retry's time comes, whichever is first."""
    moments = [
        select(func.min(moment).label("moment")).where(IS_QUEUED, moment > func.now())
        for moment in (jobs.c.lease_until, jobs.c.not_before)
    ]
    both = union_all(*moments).subquery("moments")
    wait = func.extract("epoch", func.min(both.c.moment) - func.now())
    return select(wait).scalar_subquery()
