"""Statements by which an owner changes a request that was made: hold, release, and what is written about it.

Each is one guarded statement, as in `changes`: no row comes back where the guard did not hold or where
nothing would change, so that a repeated request leaves no second line of history. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, and_, cast, false, func, literal, or_, true, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from pipeline3d.database.tables import jobs
from pipeline3d.requests.history import build_change
from pipeline3d.requests.leases import IS_QUEUED, past_or_unset
from pipeline3d.requests.pruning import is_expired
from pipeline3d.requests.reading import IS_VISIBLE

ONLY_WHILE_QUEUED = frozenset({"priority", "deadline"})
"""What has a meaning only for a request that waits."""
LARGEST_METADATA = 100_000
"""Characters that the metadata of a request may grow to, as JSON."""


def hold(job_id: UUID) -> Select[Any]:
    """Let a queued request wait until it is released. One that is on its way to a run cannot be held."""
    held = (
        update(jobs)
        .where(jobs.c.id == job_id, IS_VISIBLE, IS_QUEUED, ~jobs.c.held, past_or_unset(jobs.c.lease_until))
        .values(held=True)
    )
    return build_change(held, {"event": "held"}, makes_room=True)


def release(job_id: UUID) -> Select[Any]:
    """Let a request that was held wait for its turn again."""
    released = update(jobs).where(jobs.c.id == job_id, IS_VISIBLE, jobs.c.held).values(held=False)
    return build_change(released, {"event": "released"})


def amend(job_id: UUID, changes: Mapping[str, Any]) -> Select[Any]:
    """Change some of `tags`, `metadata`, `priority`, `deadline` and `expires_at`; None clears the last two.

    Of `metadata` the named fields change, and those that are None go. No row comes back where the request is
    not QUEUED although that is needed, its files have expired, or its metadata would grow too large.
    """
    values = {name: _new_value(name, value) for name, value in changes.items()}
    differs = {name: jobs.c[name].is_distinct_from(value) for name, value in values.items()}
    guards = [
        *(or_(IS_QUEUED, ~differs[name]) for name in sorted(ONLY_WHILE_QUEUED & set(values))),
        # what has expired is being removed: nothing brings it back
        *(or_(~is_expired(), jobs.c.expires_at.is_(None)) for _ in {"expires_at"} & set(values)),
        *(metadata_fits(value) for name, value in values.items() if name == "metadata"),
    ]
    amended = (
        update(jobs)
        .where(jobs.c.id == job_id, IS_VISIBLE, or_(false(), *differs.values()), and_(true(), *guards))
        .values(values)
    )
    return build_change(amended, {"event": "changed", "fields": sorted(values)})


def metadata_fits(merged: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether metadata is small enough."""
    return func.length(cast(merged, Text)) <= LARGEST_METADATA


def merge_metadata(patch: Mapping[str, Any]) -> ColumnElement[Any]:
    """The metadata of a row with the fields of a patch; fields that are None there go."""
    kept = {name: value for name, value in patch.items() if value is not None}
    gone = [name for name, value in patch.items() if value is None]
    return jobs.c.metadata.op("||")(literal(kept, JSONB)).op("-")(literal(gone, ARRAY(Text)))


def _new_value(name: str, value: Any) -> ColumnElement[Any]:
    if isinstance(value, ColumnElement):
        return value  # a moment that Postgres computes
    return merge_metadata(value) if name == "metadata" else literal(value, jobs.c[name].type)
