"""API keys of a user: made, rotated, changed, revoked. A key keeps its id when it gets a new secret.

The earlier secret stays for its time of grace as a row of its own that names the key (`rotated_to`): what is
revoked or changed of a key is revoked or changed of its earlier secrets too. Nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Update, case, func, literal, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.columns import TIME
from pipeline3d.database.tables import api_keys
from pipeline3d.requests.accounts import LOGIN_KEY_NAME, PREFIX_LENGTH, hash_api_key
from pipeline3d.requests.audit import Line, audited
from pipeline3d.requests.creation import new_job_id
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d.requests.pruning import Sweep
from pipeline3d.requests.quotas import LIMITS

SHOWN = tuple(column for column in api_keys.c if column.name not in {"key_hash", "rotated_to"})
"""What may be seen of a key."""


def is_alive() -> ColumnElement[bool]:
    """Whether a key opens anything."""
    return api_keys.c.revoked_at.is_(None) & (
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now())
    )


def store_key(
    user_id: UUID,
    key: str,
    values: Mapping[str, Any],
    *,
    expires_s: float | None,
    line: Line,
    ends_by: datetime | None = None,
    at_most: int | None = None,
) -> Select[Any]:
    """Store a new key with these `name`, `scopes` and limits, which ends by that moment at the latest.

    No row comes back where the user has `at_most` keys that work, those of logins apart. Two at once would
    not see one another: run it through `store_counted`.
    """
    given = {
        "id": new_job_id(),
        "user_id": user_id,
        "key_hash": hash_api_key(key),
        "prefix": key[:PREFIX_LENGTH],
        **values,
    }
    row: dict[str, Any] = {name: literal(value, api_keys.c[name].type) for name, value in given.items()}
    row["expires_at"] = _ending(expires_s, ends_by)
    few = true() if at_most is None else _count_made(user_id) < at_most
    stored = (
        insert(api_keys)
        .from_select(list(row), select(*row.values()).where(few))
        .returning(*SHOWN)
        .cte("changed")
    )
    return audited(stored, line)


def list_keys(user_id: UUID, *, with_ended: bool = False) -> Select[Any]:
    """A user's keys, the newest first; without those that open nothing any more, if not asked for."""
    found = select(*SHOWN, _earlier_valid_until().label("earlier_secret_valid_until")).where(
        api_keys.c.user_id == user_id, api_keys.c.rotated_to.is_(None)
    )
    if not with_ended:
        found = found.where(is_alive())
    return found.order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())


def read_key(key_id: UUID, user_id: UUID | None = None) -> Select[Any]:
    """One key, of this user if one is given."""
    found = select(*SHOWN, _earlier_valid_until().label("earlier_secret_valid_until")).where(
        api_keys.c.id == key_id, api_keys.c.rotated_to.is_(None)
    )
    return found if user_id is None else found.where(api_keys.c.user_id == user_id)


def rotate_key(
    key_id: UUID, key: str, *, grace_s: float, line: Line, ends_by: datetime | None = None
) -> Select[Any]:
    """Give a key a new secret; the present one works for `grace_s` seconds more, never longer than it did.

    A key that ends lives as long again as it was made for, but not beyond `ends_by`. No row where the key
    opens nothing any more.
    """
    as_long_again = func.now() + (api_keys.c.expires_at - api_keys.c.created_at)
    present = (
        select(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.rotated_to.is_(None), is_alive())
        .with_for_update()
        .cte("present")
    )
    changed = (
        update(api_keys)
        .where(api_keys.c.id == present.c.id)
        .values(
            key_hash=hash_api_key(key),
            prefix=key[:PREFIX_LENGTH],
            expires_at=func.least(as_long_again, literal(ends_by, TIME)),
            created_at=func.now(),
            last_used_at=None,
        )
        .returning(*SHOWN)
        .cte("changed")
    )
    rotated = audited(changed, line)
    if grace_s <= 0:
        return rotated
    copied = ("user_id", "name", "key_hash", "prefix", "scopes", *LIMITS, "last_used_at", "created_at")
    earlier = select(
        literal(new_job_id(), api_keys.c.id.type),
        *(present.c[name] for name in copied),
        func.least(present.c.expires_at, seconds_from_now(grace_s)),
        # read from the changed row, so that the hash is free before it is stored again
        changed.c.id,
    ).join_from(present, changed, present.c.id == changed.c.id)
    kept = insert(api_keys).from_select(["id", *copied, "expires_at", "rotated_to"], earlier)
    return rotated.add_cte(kept.cte("kept"))


def change_key(
    key_id: UUID, values: Mapping[str, Any], line: Line, *, ends_by: datetime | None = None
) -> Select[Any]:
    """Change a key, and its earlier secrets with it; only the key comes back.

    With `expires_in_s` it ends so many seconds from now, or never, but not after `ends_by`; an earlier secret
    ends when it did before, or with the key.
    """
    columns = {name: value for name, value in values.items() if name != "expires_in_s"}
    if "expires_in_s" in values:
        of_key = (api_keys.c.id == key_id, _ending(values["expires_in_s"], ends_by))
        columns["expires_at"] = case(of_key, else_=api_keys.c.expires_at)
    # a statement that sets nothing would be none
    changed = update(api_keys).where(_with_earlier(key_id)).values(**columns or {"id": api_keys.c.id})
    every = changed.returning(*SHOWN).cte("every")
    return audited(select(every).where(every.c.id == key_id).cte("changed"), line)


def revoke_key(key_id: UUID, line: Line) -> Select[Any]:
    """End a key and its earlier secrets at once; no row where it had been revoked before."""
    ended = (
        update(api_keys)
        .where(_with_earlier(key_id), api_keys.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(api_keys.c.id)
        .cte("ended")
    )
    return audited(select(ended.c.id).where(ended.c.id == key_id).cte("changed"), line)


def revoke_all_keys(user_id: UUID) -> Update:
    """End all keys of a user."""
    return (
        update(api_keys)
        .where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


def revoke_named_keys(user_id: UUID, name: str, *, but: UUID | None = None) -> Update:
    """End a user's keys of this name, but for one."""
    ended = revoke_all_keys(user_id).where(api_keys.c.name == name)
    return ended if but is None else ended.where(api_keys.c.id != but)


def ended_login_keys(before: datetime) -> Sweep:
    """The keys of logins that ended before that moment: every login leaves one."""
    return Sweep(
        what="keys of ended logins",
        key=api_keys.c.id,
        past=(api_keys.c.name == LOGIN_KEY_NAME) & (api_keys.c.expires_at < before),
    )


def _count_made(user_id: UUID) -> ColumnElement[int]:
    made = select(func.count()).where(
        api_keys.c.user_id == user_id,
        api_keys.c.rotated_to.is_(None),
        api_keys.c.name != LOGIN_KEY_NAME,
        is_alive(),
    )
    return made.scalar_subquery()


def _ending(expires_s: float | None, ends_by: datetime | None) -> ColumnElement[Any]:
    """When a key ends: so many seconds from now, by that moment at the latest, or never."""
    latest: ColumnElement[Any] = literal(ends_by, TIME)
    return latest if expires_s is None else func.least(seconds_from_now(expires_s), latest)


def _with_earlier(key_id: UUID) -> ColumnElement[bool]:
    return or_(api_keys.c.id == key_id, api_keys.c.rotated_to == key_id)


def _earlier_valid_until() -> Any:
    earlier = api_keys.alias("earlier")
    return (
        select(func.least(func.max(earlier.c.expires_at), api_keys.c.expires_at))
        .where(
            earlier.c.rotated_to == api_keys.c.id,
            earlier.c.revoked_at.is_(None),
            earlier.c.expires_at > func.now(),
        )
        .correlate(api_keys)
        .scalar_subquery()
    )
