"""Idempotency keys: what was answered to a request with a key, for as long as the key counts.

A key is taken in the statement that stores what was asked for (`creation.create_jobs`). The answer follows
in a statement of its own; where a crash came between, it is made anew from what was stored. The functions are
pure and return statements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, SmallInteger, Text, Uuid, bindparam, func, select, update

from pipeline3d.database.tables import idempotency_keys
from pipeline3d.requests.pruning import Sweep

KEY_LIFE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """A key that came with a request. `request_hash` tells the request: its route and its body."""

    user_id: UUID
    key: str
    request_hash: str


@lru_cache(maxsize=1)
def read_key() -> Select[Any]:
    """What a key that still counts was used for. Built once; binds `the_user` and `the_key`."""
    names = ("request_hash", "job_id", "batch_id", "status", "answer")
    return select(*(idempotency_keys.c[name] for name in names)).where(
        idempotency_keys.c.user_id == bindparam("the_user", type_=Uuid),
        idempotency_keys.c.key == bindparam("the_key", type_=Text),
        idempotency_keys.c.expires_at > func.now(),
    )


@lru_cache(maxsize=1)
def keep_answer() -> Any:
    """Keep the first answer to the request. Built once; binds also `the_hash`, `the_status`, `the_answer`.

    The answer comes back that is kept from now on: of two at once the first one's.
    """
    kept, status = idempotency_keys.c.answer, idempotency_keys.c.status
    return (
        update(idempotency_keys)
        .where(
            idempotency_keys.c.user_id == bindparam("the_user", type_=Uuid),
            idempotency_keys.c.key == bindparam("the_key", type_=Text),
            idempotency_keys.c.request_hash == bindparam("the_hash", type_=Text),
        )
        .values(
            answer=func.coalesce(kept, bindparam("the_answer", type_=Text)),
            status=func.coalesce(status, bindparam("the_status", type_=SmallInteger)),
        )
        .returning(status, kept)
    )


def used_up_keys() -> Sweep:
    """Keys that do not count any more."""
    return Sweep(
        what="idempotency keys",
        key=idempotency_keys.c.key,
        past=idempotency_keys.c.expires_at <= func.now(),
    )
