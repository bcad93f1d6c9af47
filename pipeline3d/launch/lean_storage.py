"""Dagster's Postgres storage with fewer statements for the same answers.

Three kinds of statement are left out: questions about the schema whose answer was yes before (tables and
columns only ever appear), NOTIFY after every event (Dagster listens no longer, and each one takes a lock that
all commits of the server share), and questions for a partition that was there seconds ago. Knows nothing of
connections.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dagster import EventLogEntry
from dagster import _check as check
from dagster._core.storage.event_log import AssetKeyTable, SqlEventLogStorage
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

PARTITION_TRUSTED_S = 10.0
"""So long a partition is taken to exist after it was seen. One run of three assets asks ten times."""
MOST_PARTITIONS_REMEMBERED = 1000

_known_facts: set[tuple[str, str]] = set()
"""What a database is known to have, for all storages of the process: Dagster makes new ones all the time."""


class _RemembersSchema:
    """Asks a question about the schema until the answer is yes."""

    postgres_url: str

    def _is_so(self, fact: str, ask: Callable[..., bool], *about: object) -> bool:
        key = (self.postgres_url, fact)
        if key in _known_facts:
            return True
        if not ask(*about):
            return False
        _known_facts.add(key)
        return True


class LeanRunStorage(_RemembersSchema, PostgresRunStorage):
    """Runs, snapshots, heartbeats and cursors."""

    def has_run_stats_index_cols(self) -> bool:
        """Asked twice for every change of a run's state."""
        return self._is_so("run times", super().has_run_stats_index_cols)

    def has_backfill_id_column(self) -> bool:
        """Asked for every new run."""
        return self._is_so("runs.backfill_id", super().has_backfill_id_column)

    def has_bulk_actions_selector_cols(self) -> bool:
        """Asked for every backfill."""
        return self._is_so("bulk_actions.selector_id", super().has_bulk_actions_selector_cols)

    def has_bulk_action_job_name_column(self) -> bool:
        """Asked for every backfill."""
        return self._is_so("bulk_actions.job_name", super().has_bulk_action_job_name_column)

    def has_backfill_tags_table(self) -> bool:
        """Asked for every backfill."""
        return self._is_so("backfill_tags", super().has_backfill_tags_table)

    def has_built_index(self, migration_name: str) -> bool:
        """Asked when runs are listed."""
        return self._is_so(f"index {migration_name}", super().has_built_index, migration_name)


class LeanEventLogStorage(_RemembersSchema, PostgresEventLogStorage):
    """Events, assets, partitions and concurrency slots."""

    def store_event(self, event: EventLogEntry) -> None:
        """As for any SQL database: the event and what follows from it, without NOTIFY."""
        SqlEventLogStorage.store_event(self, event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """What a new run plans to make in two statements; other events as Dagster does.

        Dagster hands over batches only where DAGSTER_EVENT_BATCH_SIZE is set.
        """
        planned = [event for event in events if event.get_dagster_event().is_asset_materialization_planned]
        others = [event for event in events if not event.get_dagster_event().is_asset_materialization_planned]
        if planned:
            self._store_planned(planned)
        if others:
            super().store_event_batch(others)

    def _store_planned(self, events: Sequence[EventLogEntry]) -> None:
        row_by_asset = {}
        for event in events:
            asset_key = check.not_none(event.get_dagster_event().asset_key).to_string()
            # The event's own id is for materializations only.
            values = self._get_asset_entry_values(event, 0, has_asset_key_index_cols=True)
            row_by_asset[asset_key] = {"asset_key": asset_key, **values}
        # Always in the same order: two runs that start at once wait for each other and never in a circle.
        upsert = insert(AssetKeyTable).values([row_by_asset[key] for key in sorted(row_by_asset)])
        upsert = upsert.on_conflict_do_update(
            index_elements=[AssetKeyTable.c.asset_key],
            set_={
                "last_run_id": upsert.excluded.last_run_id,
                "last_materialization_timestamp": upsert.excluded.last_materialization_timestamp,
            },
        )
        with self.index_transaction() as connection:
            connection.execute(self.prepare_insert_event_batch(events))
            connection.execute(upsert)

    def has_table(self, table_name: str) -> bool:
        """Asked before anything that later versions of Dagster brought."""
        return self._is_so(f"table {table_name}", super().has_table, table_name)

    def has_asset_key_col(self, column_name: str) -> bool:
        """Asked whenever the state of an asset is read."""
        return self._is_so(f"asset_keys.{column_name}", super().has_asset_key_col, column_name)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        return self._is_so(
            f"asset_keys.{column_name}",
            super()._has_asset_key_col_on_connection,
            conn,
            column_name,
        )

    def has_secondary_index(self, name: str) -> bool:
        """Asked when an asset is written."""
        return self._is_so(f"index {name}", super().has_secondary_index, name)

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        """Whether the partition exists, or did within the last seconds."""
        key = (self.postgres_url, partitions_def_name, partition_key)
        if _seen_partitions.has(key):
            return True
        exists = super().has_dynamic_partition(partitions_def_name, partition_key)
        if exists:
            _seen_partitions.add(key)
        return exists

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """Delete it; this process knows at once, others within seconds."""
        super().delete_dynamic_partition(partitions_def_name, partition_key)
        _seen_partitions.remove((self.postgres_url, partitions_def_name, partition_key))


class LeanScheduleStorage(_RemembersSchema, PostgresScheduleStorage):
    """Schedules, sensors and their ticks."""

    def has_instigators_table(self) -> bool:
        """Asked whenever the daemon looks for work."""
        return self._is_so("instigators", super().has_instigators_table)

    def _has_instigators_table(self, conn: Connection) -> bool:
        return self._is_so("instigators", super()._has_instigators_table, conn)

    def has_built_index(self, migration_name: str) -> bool:
        """Asked whenever the daemon looks for work."""
        return self._is_so(f"index {migration_name}", super().has_built_index, migration_name)


class _SeenPartitions:
    """Partitions that were there lately. Safe in threads: each method is one operation on the dictionary."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str, str], float] = {}

    def has(self, key: tuple[str, str, str]) -> bool:
        return self._until.get(key, 0.0) > time.monotonic()

    def add(self, key: tuple[str, str, str]) -> None:
        if len(self._until) >= MOST_PARTITIONS_REMEMBERED:
            self._until.clear()
        self._until[key] = time.monotonic() + PARTITION_TRUSTED_S

    def remove(self, key: tuple[str, str, str]) -> None:
        self._until.pop(key, None)


_seen_partitions = _SeenPartitions()
