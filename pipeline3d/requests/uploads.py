"""Files that callers bring: tickets for them, what was found in them, and what may be forgotten of them.

A row is a ticket until all of its object was read; from then on it says what the object is. Pure functions
that return statements. Whether an object is still what its row says, its etag tells: see `store.contents`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert

from pipeline3d.database.file_tables import uploads
from pipeline3d.database.tables import NAMES_AN_UPLOAD, artifacts, jobs
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d.requests.pruning import Sweep
from pipeline3d.values import FINISHED_STATES

MOST_CANDIDATES = 20
"""Of equal uploads the newest ones are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """A file that is to come. `claimed_size` (bytes) and `claimed_sha256` where the caller said them."""

    id: UUID
    user_id: UUID
    key: str
    filename: str
    content_type: str
    claimed_size: int | None = None
    claimed_sha256: str | None = None


def open_ticket(upload: NewUpload, *, expires_s: float, most_open: int) -> Any:
    """Record a ticket; no row comes back where its user has as many open ones already."""
    few = _count_open(upload.user_id, most_open) < most_open
    values = {
        **_values(upload),
        "claimed_size_bytes": literal(upload.claimed_size, uploads.c.claimed_size_bytes.type),
        "claimed_sha256": literal(upload.claimed_sha256, uploads.c.claimed_sha256.type),
        "expires_at": seconds_from_now(expires_s),
    }
    return (
        insert(uploads)
        .from_select(list(values), select(*values.values()).where(few))
        .returning(uploads.c.id, uploads.c.expires_at)
    )


def record_stored(upload: NewUpload, *, size: int, sha256: str, etag: str) -> Any:
    """Record a file that came through us, so that it never had a ticket."""
    return (
        insert(uploads)
        .values(
            **_values(upload),
            file_size_bytes=size,
            sha256=sha256,
            etag=etag,
            expires_at=func.now(),
            stored_at=func.now(),
        )
        .returning(uploads)
    )


def mark_stored(upload_id: UUID, *, size: int, sha256: str, etag: str) -> Update:
    """Note what the object of a ticket was found to be."""
    return (
        update(uploads)
        .where(uploads.c.id == upload_id)
        .values(
            file_size_bytes=size,
            sha256=sha256,
            etag=etag,
            stored_at=func.coalesce(uploads.c.stored_at, func.now()),
            last_given_at=func.now(),
        )
        .returning(uploads)
    )


def read_own_upload(user_id: UUID, upload_id: UUID) -> Select[Any]:
    """One of a user's uploads."""
    return select(uploads).where(uploads.c.id == upload_id, uploads.c.user_id == user_id)


def list_own_uploads(user_id: UUID, *, before: UUID | None, limit: int) -> Select[Any]:
    """A page of a user's uploads, newest first; ids sort by time."""
    page = select(uploads).where(uploads.c.user_id == user_id)
    if before is not None:
        page = page.where(uploads.c.id < before)
    return page.order_by(uploads.c.id.desc()).limit(limit)


def find_same(user_id: UUID, sha256: str, content_type: str) -> Select[Any]:
    """A user's own uploads that were found to have this content, newest first. Nobody else's, ever."""
    return (
        select(uploads)
        .where(
            uploads.c.user_id == user_id, uploads.c.sha256 == sha256, uploads.c.content_type == content_type
        )
        .order_by(uploads.c.id.desc())
        .limit(MOST_CANDIDATES)
    )


def give_again(upload_id: UUID) -> Update:
    """Note that an upload is named to its owner once more; no row comes back where it was forgotten."""
    return (
        update(uploads)
        .where(uploads.c.id == upload_id)
        .values(last_given_at=func.now())
        .returning(uploads.c.id)
    )


@lru_cache(maxsize=1)
def find_named() -> Select[Any]:
    """Whether there `is_recorded` an upload of `the_key`; no row where no request names it either.

    What was uploaded before there were records has none.
    """
    key = bindparam("the_key", type_=Text)
    recorded = exists().where(uploads.c.storage_path == key)
    named = exists().where(artifacts.c.storage_path == key, NAMES_AN_UPLOAD)
    return select(recorded.label("is_recorded")).where(or_(recorded, named))


def hold_records(keys: Sequence[str]) -> Select[Any]:
    """Hold uploads until the end of the transaction, once nobody is storing a request that names them."""
    held = select(uploads.c.storage_path).where(uploads.c.storage_path.in_(keys))
    return held.order_by(uploads.c.storage_path).with_for_update()


def forget_upload(user_id: UUID, upload_id: UUID) -> Select[Any]:
    """Forget one of a user's uploads, also as the input of jobs that have ended; brings its key back.

    No row comes back where a job that has not ended names it. Hold its record before.
    """
    needed = (
        exists()
        .where(artifacts.c.storage_path == uploads.c.storage_path, NAMES_AN_UPLOAD)
        .where(jobs.c.id == artifacts.c.job_id, jobs.c.state.not_in(FINISHED_STATES))
    )
    gone = (
        delete(uploads)
        .where(uploads.c.id == upload_id, uploads.c.user_id == user_id, ~needed)
        .returning(uploads.c.storage_path)
        .cte("gone")
    )
    inputs = (
        delete(artifacts)
        .where(artifacts.c.storage_path.in_(select(gone.c.storage_path)), NAMES_AN_UPLOAD)
        .cte("inputs")
    )
    return select(gone.c.storage_path).add_cte(inputs)


def forget_records(keys: Sequence[str]) -> Any:
    """Forget what is on record of these uploads, whose objects are about to go."""
    return delete(uploads).where(uploads.c.storage_path.in_(keys)).returning(uploads.c.id)


def unused_uploads(before: datetime) -> Sweep:
    """Uploads that no request names and that were last named to their owner before that moment."""
    return Sweep(
        what="records of uploads that no request used",
        key=uploads.c.id,
        past=_is_unused(before),
        ordered_by=uploads.c.created_at,
        until=before,
    )


def list_kept(keys: Sequence[str], before: datetime) -> Select[Any]:
    """Those of these uploads whose record `unused_uploads` of that moment leaves alone."""
    return select(uploads.c.storage_path).where(uploads.c.storage_path.in_(keys), ~_is_unused(before))


def _is_unused(before: datetime) -> ColumnElement[bool]:
    moment = literal(before, TIMESTAMP(timezone=True))
    named = exists().where(artifacts.c.storage_path == uploads.c.storage_path, NAMES_AN_UPLOAD)
    return and_(uploads.c.created_at < moment, uploads.c.last_given_at < moment, ~named)


def _count_open(user_id: UUID, at_most: int) -> ColumnElement[int]:
    """How many tickets of a user still work and were not used; counted no further than needed."""
    is_open = and_(
        uploads.c.user_id == user_id, uploads.c.stored_at.is_(None), uploads.c.expires_at > func.now()
    )
    some = select(uploads.c.id).where(is_open).limit(at_most).subquery("some")
    return select(func.count()).select_from(some).scalar_subquery()


def _values(upload: NewUpload) -> dict[str, Any]:
    return {
        "id": literal(upload.id, uploads.c.id.type),
        "user_id": literal(upload.user_id, uploads.c.user_id.type),
        "storage_path": literal(upload.key),
        "filename": literal(upload.filename),
        "content_type": literal(upload.content_type),
    }
