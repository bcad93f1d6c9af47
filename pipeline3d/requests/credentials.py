"""Which keys and sessions still open something: asked for all that are in use at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import CompoundSelect, Text, Uuid, bindparam, cast, func, null, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from pipeline3d.database.access_tables import sessions
from pipeline3d.database.tables import api_keys, users


@lru_cache(maxsize=1)
def list_valid() -> CompoundSelect[Any]:
    """Those that are neither revoked nor past their end, of active users, with role and scopes.

    Binds `the_keys` and `the_sessions`, which are ids.
    """
    keys = (
        select(api_keys.c.id, users.c.role, api_keys.c.scopes)
        .join(users, users.c.id == api_keys.c.user_id)
        .where(
            api_keys.c.id == func.any(bindparam("the_keys", type_=ARRAY(Uuid))),
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
            users.c.is_active == true(),
        )
    )
    open_sessions = (
        select(sessions.c.id, users.c.role, cast(null(), ARRAY(Text)))
        .join(users, users.c.id == sessions.c.user_id)
        .where(
            sessions.c.id == func.any(bindparam("the_sessions", type_=ARRAY(Uuid))),
            sessions.c.revoked_at.is_(None),
            sessions.c.expires_at > func.now(),
            users.c.is_active == true(),
        )
    )
    return keys.union_all(open_sessions)
