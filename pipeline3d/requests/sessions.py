"""Sessions of people at a browser: a random token in a cookie, of which a hash is stored.

A session ends by itself: some time after its last use, and at the latest some time after it began. The token
against forged requests is made from the session's own token, so that a page can be told it again, and nobody
who only knows what is stored can make it. Nothing here knows HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Float,
    Select,
    Text,
    Update,
    bindparam,
    func,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.access_tables import sessions
from pipeline3d.database.tables import users
from pipeline3d.requests.accounts import LAST_USED_EVERY_S, hash_api_key, seconds_until, signing_in
from pipeline3d.requests.creation import new_job_id
from pipeline3d.requests.leases import make_seconds, seconds_from_now
from pipeline3d.requests.pruning import Sweep

TOKEN_PREFIX = "p3s_"
MAX_USER_AGENT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """The secrets of a session, known to the browser alone."""

    token: str = field(repr=False)
    csrf_token: str = field(repr=False)


def generate_session() -> NewSession:
    """Secrets with 256 random bits."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return NewSession(token=token, csrf_token=csrf_token_of(token))


def csrf_token_of(token: str) -> str:
    """The token against forged requests that belongs to a session's token."""
    digest = hmac.new(token.encode(), b"csrf", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_csrf_token(token: str, csrf_hash: str) -> bool:
    """Whether it belongs to the session of this hash."""
    return hmac.compare_digest(hash_api_key(token), csrf_hash)


def create_session(
    user_id: UUID,
    secrets_of: NewSession,
    *,
    user_agent: str,
    lifetime_s: float,
    password_hash: str | None = None,
) -> Any:
    """Store a session; its id and end come back.

    With the hash of the password that was right, none is stored where that is no longer the user's.
    """
    values = {
        "id": new_job_id(),
        "token_hash": hash_api_key(secrets_of.token),
        "csrf_hash": hash_api_key(secrets_of.csrf_token),
        "user_agent": user_agent[:MAX_USER_AGENT],
    }
    row = [literal(value, sessions.c[name].type) for name, value in values.items()]
    stored = signing_in(user_id, password_hash, users.c.id, *row, seconds_from_now(lifetime_s))
    return (
        insert(sessions)
        .from_select(["user_id", *values, "expires_at"], stored)
        .returning(sessions.c.id, sessions.c.expires_at)
    )


@lru_cache(maxsize=1)
def find_user_of_session() -> Select[Any]:
    """The active user of a session that has not ended. Binds `the_hash` and `idle_s`."""
    idle = make_seconds(bindparam("idle_s", type_=Float))
    stale = func.now() - make_seconds(LAST_USED_EVERY_S)
    ends = func.least(sessions.c.expires_at, sessions.c.last_seen_at + idle)
    return (
        select(
            users,
            sessions.c.id.label("session_id"),
            sessions.c.csrf_hash,
            (sessions.c.last_seen_at < stale).label("use_is_stale"),
            seconds_until(ends).label("seconds_left"),
        )
        .join(users, users.c.id == sessions.c.user_id)
        .where(
            sessions.c.token_hash == bindparam("the_hash", type_=Text),
            _is_open(idle),
            users.c.is_active == true(),
        )
    )


def touch_session(session_id: UUID) -> Update:
    """Note that a session was used."""
    return update(sessions).where(sessions.c.id == session_id).values(last_seen_at=func.now())


def read_session(session_id: UUID) -> Select[Any]:
    """One session."""
    return select(sessions.c.id, sessions.c.expires_at, sessions.c.created_at).where(
        sessions.c.id == session_id
    )


def list_sessions(user_id: UUID, idle_s: float) -> Select[Any]:
    """A user's sessions that have not ended, the newest first."""
    return (
        select(
            sessions.c.id,
            sessions.c.user_agent,
            sessions.c.created_at,
            sessions.c.last_seen_at,
            sessions.c.expires_at,
        )
        .where(sessions.c.user_id == user_id, _is_open(make_seconds(idle_s)))
        .order_by(sessions.c.created_at.desc(), sessions.c.id)
    )


def end_sessions(user_id: UUID, *, only: UUID | None = None, but: UUID | None = None) -> Any:
    """End a user's sessions: one of them, all, or all but one. Those that it ended come back."""
    ended = update(sessions).where(sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None))
    if only is not None:
        ended = ended.where(sessions.c.id == only)
    if but is not None:
        ended = ended.where(sessions.c.id != but)
    return ended.values(revoked_at=func.now()).returning(sessions.c.id)


def end_session_of(token_hash: str) -> Update:
    """End the session of a token, where there is one."""
    return (
        update(sessions)
        .where(sessions.c.token_hash == token_hash, sessions.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


def ended_sessions(before: datetime) -> Sweep:
    """The sessions that ended before that moment."""
    return Sweep(
        what="ended sessions",
        key=sessions.c.id,
        past=(sessions.c.expires_at < before) | (sessions.c.revoked_at < before),
        ordered_by=sessions.c.created_at,
        until=before,
    )


def _is_open(idle: ColumnElement[Any]) -> ColumnElement[bool]:
    return (
        sessions.c.revoked_at.is_(None)
        & (sessions.c.expires_at > func.now())
        & (sessions.c.last_seen_at > func.now() - idle)
    )
