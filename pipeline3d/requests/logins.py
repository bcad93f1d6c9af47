"""Attempts to sign in: how many failed lately, for a user name and from an address.

An attempt is noted as failed before the password is looked at, so that many at once are all counted. One that
is refused unseen is not noted: who only waits gets in again. Names that nobody has are counted alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    ScalarSelect,
    Select,
    Update,
    cast,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.access_tables import login_attempts
from pipeline3d.requests.leases import make_seconds
from pipeline3d.requests.pruning import Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLimits:
    """Failed attempts within `window_s` seconds after which no more are looked at."""

    per_user: int
    per_address: int
    window_s: float


def note_attempt(username: str, address: str, limits: LoginLimits) -> Select[Any, Any]:
    """Note an attempt where it may be made: its `id`, or null and the seconds to wait as `retry_after_s`."""
    recent = login_attempts.c.created_at > func.now() - make_seconds(limits.window_s)
    failed = login_attempts.c.succeeded.is_(False)
    last_success = (
        select(func.coalesce(func.max(login_attempts.c.id), 0))
        .where(login_attempts.c.username == username, recent, login_attempts.c.succeeded)
        .scalar_subquery()
    )
    of_user = _frees_at(
        limits.per_user,
        login_attempts.c.username == username,
        recent,
        failed,
        login_attempts.c.id > last_success,
    )
    of_address = _frees_at(limits.per_address, login_attempts.c.address == address, recent, failed)
    # the moment of the failure that must leave the window first; null where there is room
    held = select(func.greatest(of_user, of_address if address else null()).label("since")).cte("held")
    noted = (
        insert(login_attempts)
        .from_select(
            ["username", "address", "succeeded"],
            select(literal(username), literal(address), literal(False)).where(
                select(held.c.since).scalar_subquery().is_(None)
            ),
        )
        .returning(login_attempts.c.id)
        .cte("noted")
    )
    wait = held.c.since + make_seconds(limits.window_s) - func.now()
    return select(
        cast(select(noted.c.id).scalar_subquery(), BigInteger).label("id"),
        cast(func.extract("epoch", wait), Double).label("retry_after_s"),
    ).select_from(held)


def note_success(attempt_id: int) -> Update:
    """The password was right: earlier failures for this name count no more."""
    return update(login_attempts).where(login_attempts.c.id == attempt_id).values(succeeded=True)


def old_attempts(before: datetime) -> Sweep:
    """The attempts that are older than that moment: long past every window."""
    return Sweep(
        what="attempts to sign in",
        key=login_attempts.c.id,
        past=login_attempts.c.created_at < before,
        ordered_by=login_attempts.c.created_at,
        until=before,
    )


def _frees_at(limit: int, *which: ColumnElement[bool]) -> ScalarSelect[Any]:
    """When the failure was made that fills the limit."""
    return (
        select(login_attempts.c.created_at)
        .where(*which)
        .order_by(login_attempts.c.created_at.desc())
        .offset(limit - 1)
        .limit(1)
        .scalar_subquery()
    )
