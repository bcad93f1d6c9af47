"""Queries over requests, their artifacts and their history. Pure functions that return statements."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, Uuid, bindparam, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY

from pipeline3d.database.tables import artifacts, job_events, jobs, models
from pipeline3d.requests.leases import make_seconds
from pipeline3d.values import ArtifactType

# Written into the statement, not bound: only so does a prepared statement keep to the index of running rows.
IS_OWNED_BY_RUN = jobs.c.state.in_([literal_column("'CANCELING'"), literal_column("'RUNNING'")])


IS_VISIBLE = jobs.c.deleted_at.is_(None)
"""Whether the owner of a request still sees it. What is being deleted is not there for anybody who asks."""


@lru_cache(maxsize=1)
def read_job() -> Select[Any]:
    """One request with the tier of its model, whether it is being deleted or not. Binds `the_job`.

    For runs, dispatchers and operators; what callers see is `read_visible_job`. Built once.
    """
    return select(jobs, models.c.tier).join(models).where(jobs.c.id == bindparam("the_job", type_=Uuid))


@lru_cache(maxsize=1)
def read_visible_job() -> Select[Any]:
    """As `read_job`, for whoever asks from outside: nothing where it is being deleted."""
    return read_job().where(IS_VISIBLE)


@lru_cache(maxsize=1)
def read_job_document() -> Select[Any]:
    """A visible request with its artifacts as one JSON text: the columns, `tier` and `artifacts`.

    For the answer that is asked for most. One value of one row is read in a third of the time that the rows
    themselves take. Built once; binds `the_job`.
    """
    own = (
        select(artifacts)
        .where(artifacts.c.job_id == jobs.c.id)
        .order_by(artifacts.c.created_at, artifacts.c.asset, artifacts.c.name)
        .correlate(jobs)
        .subquery("own")
    )
    as_list = select(func.coalesce(func.json_agg(func.to_json(own.table_valued())), _NO_ROWS))
    whole = (
        select(jobs, models.c.tier, as_list.scalar_subquery().label("artifacts"))
        .join(models)
        .where(jobs.c.id == bindparam("the_job", type_=Uuid), IS_VISIBLE)
        .subquery("whole")
    )
    return select(cast(func.to_json(whole.table_valued()), Text).label("document"))


_NO_ROWS: ColumnElement[Any] = literal_column("'[]'::json")


def list_running(silent_for_s: float) -> Select[Any]:
    """Requests that a run owns but has not spoken for that long."""
    return (
        select(
            *(jobs.c[name] for name in ("id", "attempt", "run_id", "state", "heartbeat_at")),
            func.extract("epoch", func.now() - jobs.c.heartbeat_at).label("silent_s"),
        )
        .where(
            IS_OWNED_BY_RUN,
            jobs.c.heartbeat_at <= func.now() - make_seconds(silent_for_s),
        )
        .order_by(jobs.c.heartbeat_at)
    )


@lru_cache(maxsize=1)
def list_artifacts() -> Select[Any]:
    """What is stored for some requests, in the order in which it came to be. Built once; binds `the_jobs`."""
    return (
        select(artifacts)
        .where(artifacts.c.job_id == func.any(bindparam("the_jobs", type_=ARRAY(Uuid))))
        .order_by(artifacts.c.created_at, artifacts.c.asset, artifacts.c.name)
    )


def read_artifact(job_id: UUID, asset: str) -> Select[Any]:
    """The newest object that an asset stored for a request."""
    return (
        select(artifacts)
        .where(artifacts.c.job_id == job_id, artifacts.c.asset == asset, artifacts.c.sha256.is_not(None))
        .order_by(artifacts.c.created_at.desc(), artifacts.c.name)
        .limit(1)
    )


def read_named_artifact(job_id: UUID, asset: str, name: str) -> Select[Any]:
    """One object of an asset by its name."""
    return select(artifacts).where(
        artifacts.c.job_id == job_id, artifacts.c.asset == asset, artifacts.c.name == name
    )


def read_visible_artifact(job_id: UUID, asset: str, name: str) -> Select[Any]:
    """The same, for whoever asks from outside: nothing where the request is being deleted."""
    return read_named_artifact(job_id, asset, name).join(jobs).where(IS_VISIBLE)


def read_result(job_id: UUID) -> Select[Any]:
    """The model that a request made: of several, the GLB first, then the newest."""
    is_glb = artifacts.c.content_type == "model/gltf-binary"
    return (
        select(artifacts)
        .where(artifacts.c.job_id == job_id, artifacts.c.type == ArtifactType.OUTPUT_MODEL)
        .order_by(is_glb.desc(), artifacts.c.created_at.desc(), artifacts.c.id)
        .limit(1)
    )


def list_events(job_id: UUID, *, after: int, limit: int) -> Select[Any]:
    """The history of a request after an event's id, oldest first."""
    return (
        select(job_events)
        .where(job_events.c.job_id == job_id, job_events.c.id > after)
        .order_by(job_events.c.id)
        .limit(limit)
    )
