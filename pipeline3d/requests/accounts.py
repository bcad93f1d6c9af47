"""Users and their API keys: how they are made, found and checked.

A key is shown once, when it is made; only its hash is stored. An unknown user costs as much time as a wrong
password and is answered the same. Nothing here knows HTTP.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import (
    ColumnElement,
    Double,
    Insert,
    Row,
    Select,
    Text,
    Update,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.tables import api_keys, users
from pipeline3d.requests.creation import new_job_id
from pipeline3d.requests.leases import make_seconds, seconds_from_now
from pipeline3d.requests.permissions import effective_scopes
from pipeline3d.requests.quotas import LIMITS, NO_LIMITS, Limits
from pipeline3d.values import Role, Scope

KEY_PREFIX = "p3d_"
PREFIX_LENGTH = 8
"""How much of a key stays readable, so that its owner can tell keys apart."""

LAST_USED_EVERY_S = 60

LOGIN_KEY_NAME = "login"
"""Of the keys that a login with a password makes; they end by themselves."""

_hasher = PasswordHasher()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who is known."""

    id: UUID
    username: str
    is_active: bool
    is_superuser: bool
    role: Role = Role.MEMBER
    scopes: frozenset[Scope] = frozenset()
    """What may be done with the key or session that was sent: never more than the role allows."""
    key_id: UUID | None = None
    key_ends_at: datetime | None = None
    """When the secret that was sent stops working; None where it was no key's, or never does."""
    session_id: UUID | None = None
    csrf_hash: str | None = field(default=None, repr=False)
    """Of the token that a page must send along with every change; of sessions only."""
    compatibility: str | None = None
    """The earlier system whose form the answers have; None is our own."""
    limits: Limits = NO_LIMITS
    """Those of the user; the installation's where one is None."""
    key_limits: Limits = NO_LIMITS
    """Those of the key that was sent; both are kept to."""


def account_of_row(row: Row[Any]) -> Account:
    """A row of `find_user_of_key`, or of `sessions.find_user_of_session`, as a value."""
    role = Role(row.role)
    values = row._mapping
    return Account(
        id=row.id,
        username=row.username,
        is_active=row.is_active,
        is_superuser=row.is_superuser,
        role=role,
        scopes=effective_scopes(role, values.get("scopes", ())),
        key_id=values.get("key_id"),
        key_ends_at=values.get("key_ends_at"),
        session_id=values.get("session_id"),
        csrf_hash=values.get("csrf_hash"),
        compatibility=row.compatibility,
        limits=Limits(**{name: values[name] for name in LIMITS}),
        key_limits=Limits(**{name: values.get(f"key_{name}") for name in LIMITS}),
    )


def generate_api_key() -> str:
    """A new key with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hash_api_key(key: str) -> str:
    """What is stored of a key. Plain SHA-256: a random key cannot be found by trying."""
    return hashlib.sha256(key.encode()).hexdigest()


def hash_password(password: str) -> str:
    """What is stored of a password (argon2id)."""
    return _hasher.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether the password belongs to the hash. None, for an unknown user, takes as long and is False."""
    try:
        matches = _hasher.verify(password_hash or _hash_of_nobody(), password)
    except (Argon2Error, InvalidHashError):
        return False
    return matches and password_hash is not None


@lru_cache(maxsize=1)
def _hash_of_nobody() -> str:
    return hash_password(secrets.token_urlsafe(16))


def find_user(username: str) -> Select[Any]:
    """A user by name, with the password's hash."""
    return select(users).where(users.c.username == username)


@lru_cache(maxsize=1)
def find_user_of_key() -> Select[Any]:
    """The active user of a key that is neither revoked nor past its end. Binds `the_hash`.

    An earlier secret of a key is the same key: it may do what the key may by now, and ends with it. Its own
    row does not decide that, because a change of the key at the moment of the rotation cannot see it.
    """
    stale = func.now() - make_seconds(LAST_USED_EVERY_S)
    current = api_keys.alias("current")
    use_is_stale = or_(current.c.last_used_at.is_(None), current.c.last_used_at < stale)
    ends_at = func.least(api_keys.c.expires_at, current.c.expires_at)  # null where neither ends
    return (
        select(
            users,
            current.c.id.label("key_id"),
            current.c.scopes,
            use_is_stale.label("use_is_stale"),
            ends_at.label("key_ends_at"),
            seconds_until(ends_at).label("seconds_left"),
            *(current.c[name].label(f"key_{name}") for name in LIMITS),
        )
        .select_from(api_keys)
        .join(users, users.c.id == api_keys.c.user_id)
        .join(current, current.c.id == func.coalesce(api_keys.c.rotated_to, api_keys.c.id))
        .where(
            api_keys.c.key_hash == bindparam("the_hash", type_=Text),
            api_keys.c.revoked_at.is_(None),
            current.c.revoked_at.is_(None),
            or_(ends_at.is_(None), ends_at > func.now()),
            users.c.is_active == true(),
        )
    )


def seconds_until(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    """How many seconds there are until then; null where there is no end."""
    return cast(func.extract("epoch", moment - func.now()), Double)


def touch_key(key_id: UUID) -> Update:
    """Note that a key was used. Call it where `find_user_of_key` says that the last note is a minute old."""
    return update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=func.now())


def create_user(username: str, password_hash: str, *, is_superuser: bool = False) -> Insert:
    """Store a user; no row comes back where the name is taken."""
    return (
        insert(users)
        .values(
            id=new_job_id(),
            username=username,
            password_hash=password_hash,
            is_superuser=is_superuser,
            role=Role.ADMIN if is_superuser else Role.MEMBER,
        )
        .on_conflict_do_nothing(index_elements=[users.c.username])
        .returning(users.c.id)
    )


def set_password(user_id: UUID, password_hash: str, *, former: str | None = None) -> Any:
    """Give a user another password: where `former` is given, only if that is still the stored hash."""
    changed = update(users).where(users.c.id == user_id)
    if former is not None:
        changed = changed.where(users.c.password_hash == former)
    return changed.values(password_hash=password_hash).returning(users.c.id)


def create_api_key(
    user_id: UUID,
    key: str,
    *,
    name: str,
    expires_s: float | None = None,
    scopes: Collection[Scope] = (),
) -> Insert:
    """Store a key's hash; one that was revoked works again, any other stays as it is.

    Without scopes it may do all that its user's role allows.
    """
    row = insert(api_keys).values(
        id=new_job_id(),
        user_id=user_id,
        name=name,
        key_hash=hash_api_key(key),
        prefix=key[:PREFIX_LENGTH],
        scopes=sorted(scopes),
        expires_at=None if expires_s is None else seconds_from_now(expires_s),
    )
    return row.on_conflict_do_update(
        index_elements=[api_keys.c.key_hash],
        set_={"revoked_at": None},
        where=(api_keys.c.revoked_at.is_not(None)) & (api_keys.c.user_id == user_id),
    ).returning(api_keys.c.id)


def create_login_key(user_id: UUID, key: str, *, password_hash: str, expires_s: float) -> Any:
    """Store the key of a login with this password; no row comes back where it is no longer the user's."""
    values = {
        "id": new_job_id(),
        "name": LOGIN_KEY_NAME,
        "key_hash": hash_api_key(key),
        "prefix": key[:PREFIX_LENGTH],
    }
    row = [literal(value, api_keys.c[name].type) for name, value in values.items()]
    stored = signing_in(user_id, password_hash, users.c.id, *row, seconds_from_now(expires_s))
    return insert(api_keys).from_select(["user_id", *values, "expires_at"], stored).returning(api_keys.c.id)


def signing_in(user_id: UUID, password_hash: str | None, *columns: ColumnElement[Any]) -> Select[Any]:
    """A row of these columns while an active user has this password (None: any).

    To look at a password takes a while, in which it may be changed: what the earlier one opens is then not
    made. A change that comes now waits until it is, and ends it.
    """
    row = select(*columns).where(users.c.id == user_id, users.c.is_active == true())
    if password_hash is not None:
        row = row.where(users.c.password_hash == password_hash)
    return row.with_for_update(read=True, of=users)


def revoke_other_keys(user_id: UUID, key: str, *, name: str) -> Update:
    """End a user's keys of this name other than the one given."""
    return (
        update(api_keys)
        .where(
            api_keys.c.user_id == user_id,
            api_keys.c.name == name,
            api_keys.c.key_hash != hash_api_key(key),
            api_keys.c.revoked_at.is_(None),
        )
        .values(revoked_at=func.now())
    )
