"""Statements that read the history of many requests at once, in the order in which it may be told.

The ids of `job_events` are given before a line commits, so a lower id can become visible after a higher one.
`list_unread` and `list_writers` are what `api.event_order` needs to tell them in order all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    TextClause,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from pipeline3d.database.tables import job_events, jobs
from pipeline3d.requests.event_types import TYPE_BY_EVENT, JobEventType

_LINES = (
    job_events.c.id,
    job_events.c.job_id,
    job_events.c.event_type,
    job_events.c.payload,
    job_events.c.created_at,
    jobs.c.user_id,
)


@lru_cache(maxsize=1)
def read_last_event_id() -> Select[Any]:
    """The highest id that is visible, 0 where there is none."""
    return select(func.coalesce(func.max(job_events.c.id), 0).label("id"))


@lru_cache(maxsize=1)
def list_unread() -> Select[Any]:
    """The lines after an id that are not among those seen, by id. Binds `after`, `seen` and `limit`."""
    return (
        select(*_LINES)
        .join(jobs, jobs.c.id == job_events.c.job_id)
        .where(
            job_events.c.id > bindparam("after", type_=BigInteger),
            job_events.c.id != func.all(bindparam("seen", type_=ARRAY(BigInteger))),
        )
        .order_by(job_events.c.id)
        .limit(bindparam("limit", type_=Integer))
    )


@lru_cache(maxsize=1)
def list_writers() -> TextClause:
    """The transactions that may be about to commit a line of history.

    Who writes one holds this lock on the table from before its id is given until after it is visible to all.
    A transaction that is gone from this list has therefore shown what it had, or never will.
    """
    return text(
        "SELECT DISTINCT virtualtransaction AS writer FROM pg_locks"
        " WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = 'job_events'::regclass"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


def list_own_events(
    *, types: Iterable[JobEventType] | None = None, of_jobs: bool = False, until: bool = False
) -> Select[Any]:
    """Lines of the history of a user's jobs after an id, oldest first, of some types.

    Binds `the_user`, `after` and `limit`; with `of_jobs` also `the_jobs`, with `until` also `until`.
    """
    found = (
        select(*_LINES)
        .join(jobs, jobs.c.id == job_events.c.job_id)
        .where(
            jobs.c.user_id == bindparam("the_user", type_=Uuid),
            job_events.c.id > bindparam("after", type_=BigInteger),
        )
    )
    if of_jobs:
        found = found.where(jobs.c.id == func.any(bindparam("the_jobs", type_=ARRAY(Uuid))))
    if until:
        found = found.where(job_events.c.id <= bindparam("until", type_=BigInteger))
    if types is not None:
        found = found.where(type_of_line().in_(sorted(types)))
    return found.order_by(job_events.c.id).limit(bindparam("limit", type_=Integer))


def type_of_line() -> ColumnElement[str]:
    """`event_types.event_type_of` in SQL; a test holds the two together."""
    event, state = (job_events.c.payload[name].astext for name in ("event", "state"))
    return case(
        *(
            (event == name if of is None else and_(event == name, state == of.value), literal(type.value))
            for (name, of), type in TYPE_BY_EVENT.items()
        ),
        else_=literal(JobEventType.CHANGED.value),
    )
