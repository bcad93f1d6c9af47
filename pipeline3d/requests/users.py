"""Users as administrators see and change them, and what each used. Who asks is a matter of `accounts`.

A user is never removed: jobs belong to them. Deactivated, nothing of theirs opens anything any more: keys and
sessions end in the same statement. Nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Date, Executable, Select, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.tables import jobs, users
from pipeline3d.requests.accounts import LOGIN_KEY_NAME
from pipeline3d.requests.audit import Line, audited
from pipeline3d.requests.creation import new_job_id
from pipeline3d.requests.keys import revoke_all_keys, revoke_named_keys
from pipeline3d.requests.listing import JobFilter, matches
from pipeline3d.requests.quotas import begin_of, is_given_back, this_month
from pipeline3d.requests.sessions import end_sessions
from pipeline3d.values import JobState, Role

SHOWN = tuple(column for column in users.c if column.name != "password_hash")
"""What may be seen of a user."""

CHANGEABLE = frozenset(
    {
        *("role", "is_active", "compatibility", "max_concurrent_jobs", "max_open_jobs"),
        *("requests_per_minute", "monthly_cost_units", "password_hash"),
    }
)


def list_users(*, limit: int, after: str | None = None, search: str | None = None) -> Select[Any]:
    """Users by name, from the one after `after` on; those only whose name has `search` in it."""
    found = select(*SHOWN)
    if after is not None:
        found = found.where(users.c.username > after)
    if search:
        found = found.where(users.c.username.icontains(search, autoescape=True))
    return found.order_by(users.c.username).limit(limit)


def read_user(user_id: UUID) -> Select[Any]:
    """One user."""
    return select(*SHOWN).where(users.c.id == user_id)


def add_user(username: str, password_hash: str, values: Mapping[str, Any], line: Line) -> Select[Any]:
    """Store a user with these `role`, limits and so on; no row comes back where the name is taken."""
    added = (
        insert(users)
        .values(
            id=new_job_id(),
            username=username,
            password_hash=password_hash,
            is_superuser=values.get("role") == Role.ADMIN,
            **values,
        )
        .on_conflict_do_nothing(index_elements=[users.c.username])
        .returning(*SHOWN)
        .cte("added")
    )
    return audited(added, line)


def change_user(user_id: UUID, values: Mapping[str, Any], line: Line) -> Select[Any]:
    """Change a user. Run `end_access` after it, in the same transaction."""
    assert values.keys() <= CHANGEABLE, values.keys()
    changes = dict(values)
    if "role" in changes:
        changes["is_superuser"] = changes["role"] == Role.ADMIN
    changed = (
        update(users)
        .where(users.c.id == user_id)
        .values(**changes or {"id": users.c.id})
        .returning(*SHOWN)
        .cte("changed")
    )
    return audited(changed, line)


def end_access(user_id: UUID, values: Mapping[str, Any]) -> list[Executable]:
    """What a change of these values ends: all sessions, and all keys of one who is deactivated, or those of
    logins of one who gets another password.

    Statements of their own, for they see what was stored while the change waited for it: a sign-in that is
    under way either finds the user changed, or is done before these begin.
    """
    if values.get("is_active") is False:
        return [end_sessions(user_id), revoke_all_keys(user_id)]
    if "password_hash" in values:
        return [end_sessions(user_id), revoke_named_keys(user_id, LOGIN_KEY_NAME)]
    return []


def list_everybodys_jobs(chosen: JobFilter, *, username: str | None = None, limit: int) -> Select[Any]:
    """The jobs of all users, or of one, that are chosen, the newest first."""
    found = (
        select(
            *(jobs.c.id, users.c.username, jobs.c.model_id, jobs.c.kind, jobs.c.state, jobs.c.attempt),
            *(jobs.c.priority, jobs.c.error_code, jobs.c.error_message, jobs.c.cost_units, jobs.c.run_id),
            *(jobs.c.created_at, jobs.c.started_at, jobs.c.completed_at),
        )
        .join_from(jobs, users, users.c.id == jobs.c.user_id)
        .where(matches(replace(chosen, older_than=None)))
    )
    if chosen.older_than is not None:
        found = found.where(jobs.c.id < chosen.older_than)
    if username is not None:
        found = found.where(users.c.username == username)
    # ids sort by the time of their making, and there is no index over all users for another order
    return found.order_by(jobs.c.id.desc()).limit(limit)


def read_usage(month: date | None) -> Select[Any]:
    """What the users' jobs of a month (None: of this one, UTC) were and cost, the most costly first.

    Users without a job in it are left out. What was given back is not counted in `cost_units`.
    """
    first = this_month() if month is None else literal(month, Date)
    free = is_given_back()

    def count(*states: JobState) -> Any:
        return func.count().filter(jobs.c.state.in_(states))

    cost = func.coalesce(func.sum(jobs.c.cost_units).filter(~free), 0).label("cost_units")
    return (
        select(
            first.label("month"),
            users.c.id.label("user_id"),
            users.c.username,
            users.c.monthly_cost_units,
            func.count().label("jobs"),
            count(JobState.SUCCEEDED).label("succeeded"),
            count(JobState.FAILED).label("failed"),
            count(JobState.CANCELED, JobState.EXPIRED).label("canceled"),
            cost,
        )
        .join_from(jobs, users, users.c.id == jobs.c.user_id)
        .where(jobs.c.created_at >= begin_of(first), jobs.c.created_at < begin_of(first, months_later=1))
        .group_by(users.c.id)
        .order_by(cost.desc(), users.c.username)
    )


def read_month() -> Select[Any]:
    """The first day of this month."""
    return select(this_month().label("month"))
