"""Dagster's Postgres storage with connections that are kept, for every process of the installation.

Dagster's own opens a connection for each statement: 92 for a run of three assets. Named in dagster.yaml under
`storage: custom:`. The tables, migrations and answers are Dagster's; only the way to Postgres is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Self

from dagster import Field, IntSource, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import URL, Connection, Engine, inspect

from pipeline3d.database.engines import parse_database_url
from pipeline3d.launch.lean_storage import LeanEventLogStorage, LeanRunStorage, LeanScheduleStorage
from pipeline3d.launch.partition_status import LeanPartitionStatus
from pipeline3d.launch.postgres_pool import PoolSettings, lend_connection, shared_engine

_FIRST_TABLES = frozenset({"runs", "instance_info", "event_logs", "jobs"})
"""Where these are, Dagster has made all its tables: one of each storage, as its own constructors look for."""


class _Pooled:
    """What the three storages share: connections lent by the pool of the process."""

    postgres_url: str
    _engine: Engine
    _settings: PoolSettings
    _patience_s: float = 0.0

    def use_pool(self, settings: PoolSettings, patience_s: float) -> None:
        """Take connections from the process's pool with these settings from now on."""
        self._settings = settings
        self._patience_s = patience_s
        self._engine = shared_engine(self.postgres_url, settings)

    def lend(self) -> AbstractContextManager[Connection]:
        """A connection for a `with` block."""
        return lend_connection(self._engine, patience_s=self._patience_s)

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Called by the webserver with its options, in milliseconds, seconds and connections."""
        asked = replace(
            self._settings,
            statement_timeout_ms=statement_timeout,
            recycle_s=pool_recycle,
            max_overflow=max_overflow,
        )
        self.use_pool(asked, self._patience_s)

    def upgrade(self) -> None:
        """Migrate the tables. What follows in this process is migration, so no statement is cut short."""
        self.use_pool(replace(self._settings, statement_timeout_ms=0), self._patience_s)
        super().upgrade()  # type: ignore[misc]


class PooledRunStorage(_Pooled, LeanRunStorage):
    """Runs, snapshots, heartbeats and cursors."""

    def connect(self) -> AbstractContextManager[Connection]:
        """As Dagster's, from the pool."""
        return self.lend()


class PooledEventLogStorage(_Pooled, LeanPartitionStatus, LeanEventLogStorage):
    """Events, assets, partitions and concurrency slots."""

    def _connect(self) -> AbstractContextManager[Connection]:
        return self.lend()


class PooledScheduleStorage(_Pooled, LeanScheduleStorage):
    """Schedules, sensors and their ticks."""

    def connect(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        """As Dagster's, from the pool."""
        return self.lend()


class PooledPostgresStorage(DagsterPostgresStorage):
    """All of Dagster's storage on one pool of connections per process.

    `connect_patience_s` is how long a statement waits for Postgres to come back before it fails.
    """

    def __init__(
        self,
        postgres_url: str,
        *,
        pool: PoolSettings,
        connect_patience_s: int,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        # Some of Dagster's statements work with psycopg2 only, whatever the URL names.
        address = parse_database_url(postgres_url).set(drivername="postgresql+psycopg2")
        self.postgres_url = address.render_as_string(hide_password=False)
        self._inst_data = inst_data
        engine = shared_engine(self.postgres_url, pool)
        self.should_autocreate_tables = not _has_tables(engine, connect_patience_s)
        self._run_storage = PooledRunStorage(self.postgres_url, self.should_autocreate_tables)
        self._event_log_storage = PooledEventLogStorage(self.postgres_url, self.should_autocreate_tables)
        self._schedule_storage = PooledScheduleStorage(self.postgres_url, self.should_autocreate_tables)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage.use_pool(pool, connect_patience_s)
        # Not the next class's constructor: it would make three storages that connect for each statement.
        super(DagsterPostgresStorage, self).__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The `config:` block of dagster.yaml."""
        return _CONFIG

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Called by Dagster with the `config:` block, checked and with its variables read."""
        return cls(
            config_value["postgres_url"],
            pool=PoolSettings(
                pool_size=config_value["pool_size"],
                max_overflow=config_value["max_overflow"],
                pool_timeout_s=config_value["pool_timeout_s"],
                recycle_s=config_value["recycle_s"],
                statement_timeout_ms=config_value["statement_timeout_s"] * 1000,
            ),
            connect_patience_s=config_value["connect_patience_s"],
            inst_data=inst_data,
        )


_CONFIG = {
    "postgres_url": Field(StringSource, description="postgresql://user:password@host:port/database"),
    "pool_size": Field(
        IntSource, is_required=False, default_value=5, description="Connections that a process keeps."
    ),
    "max_overflow": Field(
        IntSource,
        is_required=False,
        default_value=20,
        description="Connections beyond those while many threads ask at once, as the daemon's do.",
    ),
    "pool_timeout_s": Field(
        IntSource, is_required=False, default_value=30, description="Longest wait for a lent connection."
    ),
    "recycle_s": Field(
        IntSource, is_required=False, default_value=1800, description="Age at which one is replaced."
    ),
    "statement_timeout_s": Field(
        IntSource, is_required=False, default_value=60, description="A statement ends after this; 0 is never."
    ),
    "connect_patience_s": Field(
        IntSource,
        is_required=False,
        default_value=30,
        description="How long a statement waits for a Postgres that restarts.",
    ),
}

_databases_with_tables: set[URL] = set()


def _has_tables(engine: Engine, patience_s: float) -> bool:
    """Whether Dagster's tables are there, asked until they are."""
    if engine.url not in _databases_with_tables:
        with lend_connection(engine, patience_s=patience_s) as connection:
            if not _FIRST_TABLES.issubset(inspect(connection).get_table_names()):
                return False
        _databases_with_tables.add(engine.url)
    return True
