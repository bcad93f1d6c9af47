"""Dagster's own tables, made and migrated once, before its processes start side by side.

The question whether there is anything to do is one SQL query, so that a normal start does not pay
for importing Dagster.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version

import psycopg

from pipeline3d.errors import ServerFailure

MARK = "pipeline3d_dagster_version"
"""A table of one row: the version of Dagster whose migrations the database has seen."""
LONGEST_MIGRATION_S = 3600.0


def migrate_dagster(url: str, environment: Mapping[str, str]) -> bool:
    """Whether there was anything to do. `environment` names the instance. Raises ServerFailure."""
    wanted = version("dagster")
    with psycopg.connect(_plain(url), autocommit=True, connect_timeout=5) as connection:
        # Two starts at once: the second waits here and then finds nothing to do.
        connection.execute("SELECT pg_advisory_lock(%s)", (0x7033_6464,))
        if _read_mark(connection) == wanted:
            return False
        done = subprocess.run(
            [sys.executable, "-m", "dagster", "instance", "migrate"],
            env={**os.environ, **environment},
            cwd=environment.get("DAGSTER_HOME"),
            capture_output=True,
            text=True,
            timeout=LONGEST_MIGRATION_S,
        )
        if done.returncode != 0:
            raise ServerFailure(
                f"Dagster's database could not be migrated:\n{done.stderr.strip()[-2000:]}",
                code="dagster_migration_failed",
            )
        _write_mark(connection, wanted)
    return True


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
