"""Dagster's own tables, made and migrated once, before its processes start side by side.

The question whether there is anything to do is one SQL query, so that a normal start does not pay
for importing Dagster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import psycopg

from pipeline3d.errors import ServerFailure
from pipeline3d.log_masking import mask

MARK = "pipeline3d_dagster_version"
"""A table of one row: the version of Dagster whose migrations the database has seen."""


def migrate_dagster(url: str, environment: Mapping[str, str]) -> bool:
    """Whether there was anything to do. `environment` names the instance. Raises ServerFailure."""
    wanted = version("dagster")
    with psycopg.connect(_plain(url), autocommit=True, connect_timeout=5) as connection:
        # Two starts at once: the second waits here and then finds nothing to do.
        connection.execute("SELECT pg_advisory_lock(%s)", (0x7033_6464,))
        if _read_mark(connection) == wanted:
            return False
        with _seen_as(environment):
            _upgrade()
        _write_mark(connection, wanted)
    return True


def _upgrade() -> None:
    """What `dagster instance migrate` does, without loading what it only describes."""
    from dagster import DagsterInstance

    try:
        with DagsterInstance.get() as instance:
            instance.upgrade()
    except Exception as error:  # Dagster's, its driver's, or those of a migration
        raise ServerFailure(
            f"Dagster's database could not be migrated: {mask(str(error))[-2000:]}",
            code="dagster_migration_failed",
        ) from error


@contextmanager
def _seen_as(environment: Mapping[str, str]) -> Iterator[None]:
    """Dagster reads its addresses from the environment of the process."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _read_mark(connection: psycopg.Connection) -> str | None:
    exists = connection.execute("SELECT to_regclass(%s)", (MARK,)).fetchone()
    if exists is None or exists[0] is None:
        return None
    row = connection.execute(f"SELECT version FROM {MARK}").fetchone()
    return str(row[0]) if row else None


def _write_mark(connection: psycopg.Connection, wanted: str) -> None:
    with connection.transaction():
        connection.execute(f"CREATE TABLE IF NOT EXISTS {MARK} (version text NOT NULL)")
        connection.execute(f"DELETE FROM {MARK}")
        connection.execute(f"INSERT INTO {MARK} VALUES (%s)", (wanted,))


def _plain(url: str) -> str:
    """psycopg wants no driver in the scheme."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"
