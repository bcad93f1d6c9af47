"""What Dagster's own table says of runs, for a process that would load all of Dagster only to ask it."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import column, select, table

from pipeline3d.database.engines import create_sync_engine

_RUNS = table("runs", column("run_id"), column("status"))


class RunsTable:
    """Reads the runs in Dagster's database. Connects on first use and keeps one connection."""

    def __init__(self, dagster_url: str) -> None:
        self._engine = create_sync_engine(dagster_url, pool_size=1)

    def canceled_of(self, run_ids: Collection[str]) -> frozenset[str]:
        """Those of the runs that Dagster calls cancelled. Raises DatabaseUnavailable."""
        canceled = select(_RUNS.c.run_id).where(_RUNS.c.run_id.in_(run_ids), _RUNS.c.status == "CANCELED")
        with self._engine.connect() as connection:
            return frozenset(connection.scalars(canceled))
