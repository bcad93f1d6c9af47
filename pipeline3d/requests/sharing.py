"""Share links: who has one sees some files of one job, until it ends or is revoked.

The link is a random token that is shown once; stored is its hash. What it opens is decided each time that it
is used, by the row and the job as they are then. Pure functions that return statements.
"""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy import insert as plain_insert

from pipeline3d.database.file_tables import share_links
from pipeline3d.database.tables import jobs, users
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d.values import ArtifactType

TOKEN_PREFIX = "p3ds_"
PREFIX_LENGTH = 12
"""How much of a token stays readable, so that its owner can tell links apart."""
MOST_LINKS = 100
"""Links of one job that work at a time."""


class ShareScope(StrEnum):
    """What a link opens."""

    PREVIEW = "preview"
    """Pictures and videos of the model."""
    RESULT = "result"
    """The model itself, and its pictures."""
    ARTIFACTS = "artifacts"
    """All that was made for delivery. Never what the owner brought, nor what stages leave for each other."""


TYPES_OF_SCOPE: dict[ShareScope, frozenset[ArtifactType]] = {
    ShareScope.PREVIEW: frozenset({ArtifactType.PREVIEW}),
    ShareScope.RESULT: frozenset({ArtifactType.PREVIEW, ArtifactType.OUTPUT_MODEL}),
    ShareScope.ARTIFACTS: frozenset(
        {ArtifactType.PREVIEW, ArtifactType.OUTPUT_MODEL, ArtifactType.EXPORT, ArtifactType.REPORT}
    ),
}


def generate_token() -> str:
    """A new token with 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What is stored of a token. Plain SHA-256: a random token cannot be found by trying."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def create_share(
    share_id: UUID, user_id: UUID, job_id: UUID, token: str, scope: ShareScope, expires_in_s: float | None
) -> Any:
    """Store a link's hash; no row comes back where the job has as many that work."""
    working = select(share_links.c.id).where(share_links.c.job_id == job_id, _works()).limit(MOST_LINKS)
    few = select(func.count()).select_from(working.subquery("working")).scalar_subquery() < MOST_LINKS
    ends: ColumnElement[Any] = literal(None, share_links.c.expires_at.type)
    values = {
        "id": literal(share_id, share_links.c.id.type),
        "user_id": literal(user_id, share_links.c.user_id.type),
        "job_id": literal(job_id, share_links.c.job_id.type),
        "token_hash": literal(hash_token(token)),
        "prefix": literal(token[:PREFIX_LENGTH]),
        "scope": literal(scope.value),
        "expires_at": ends if expires_in_s is None else seconds_from_now(expires_in_s),
    }
    row = select(*(value.label(name) for name, value in values.items())).where(few)
    return plain_insert(share_links).from_select(list(values), row).returning(share_links)


def list_shares(job_id: UUID) -> Select[Any]:
    """The links of a job, newest first, with those that ended."""
    return select(share_links).where(share_links.c.job_id == job_id).order_by(share_links.c.id.desc())


def revoke_share(job_id: UUID, share_id: UUID) -> Update:
    """End a link; one that has ended stays as it is. No row comes back where the job has no such link."""
    return (
        update(share_links)
        .where(share_links.c.id == share_id, share_links.c.job_id == job_id)
        .values(revoked_at=func.coalesce(share_links.c.revoked_at, func.now()))
        .returning(share_links)
    )


@lru_cache(maxsize=1)
def find_share() -> Select[Any]:
    """The job that a link opens now, with the link's scope. Built once; binds `the_hash`."""
    return (
        select(
            share_links.c.id.label("share_id"),
            share_links.c.scope,
            share_links.c.expires_at.label("share_expires_at"),
            jobs,
        )
        .join(jobs, jobs.c.id == share_links.c.job_id)
        .join(users, users.c.id == share_links.c.user_id)
        .where(
            share_links.c.token_hash == bindparam("the_hash", type_=Text),
            _works(),
            jobs.c.deleted_at.is_(None),
            users.c.is_active,
        )
    )


def count_use(share_id: UUID) -> Update:
    """Note that a link was used."""
    return (
        update(share_links)
        .where(share_links.c.id == share_id)
        .values(uses=share_links.c.uses + 1, last_used_at=func.now())
    )


def _works() -> ColumnElement[bool]:
    unexpired = or_(share_links.c.expires_at.is_(None), share_links.c.expires_at > func.now())
    return and_(share_links.c.revoked_at.is_(None), unexpired)
