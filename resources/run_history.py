"""What Dagster keeps of runs, as the nightly prune sees it: partitions, runs, events, ticks.

Works on any Dagster instance with SQL storage. What Dagster offers a method for is done by it; for events and
ticks it offers none that removes them in portions, so they are swept through the storage's own connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import DagsterEventType
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES, NOT_FINISHED_STATUSES
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.schedules.schema import JobTickTable
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from sqlalchemy import Connection, Executable, Row, and_, delete, false, or_

from pipeline3d.requests.housekeeping import chunk, walk
from pipeline3d.requests.pruning import RunFacts, Sweep

PARTITION_TAG = "dagster/partition"
PAGE_RUNS = 500
"""How many runs are read or removed at a time."""

DISPOSABLE_EVENTS = tuple(
    event.value
    for event in (
        DagsterEventType.STEP_WORKER_STARTING,
        DagsterEventType.STEP_WORKER_STARTED,
        DagsterEventType.STEP_EXPECTATION_RESULT,
        DagsterEventType.RESOURCE_INIT_STARTED,
        DagsterEventType.RESOURCE_INIT_SUCCESS,
        DagsterEventType.OBJECT_STORE_OPERATION,
        DagsterEventType.ASSET_STORE_OPERATION,
        DagsterEventType.LOADED_INPUT,
        DagsterEventType.HANDLED_OUTPUT,
        DagsterEventType.ENGINE_EVENT,
        DagsterEventType.HOOK_COMPLETED,
        DagsterEventType.HOOK_SKIPPED,
    )
)
"""Events that say how a run went and that nothing is computed from later. Everything about assets and checks
stays, and so do the beginnings and ends of runs and steps, which sensors, retries and pages go by."""


class RunHistory:
    """The partitions, runs, events and ticks of one Dagster instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    # -- partitions

    def list_keys(self, partitions_name: str) -> list[str]:
        """The live keys of a partition set."""
        return list(self._instance.get_dynamic_partitions(partitions_name))

    def list_busy_keys(self) -> set[str]:
        """Keys that a run or a backfill which has not ended works on, whatever became of their requests."""
        unfinished = dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES))
        keys = {run.tags.get(PARTITION_TAG, "") for run in self._instance.get_runs(filters=unfinished)}
        statuses = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]
        for backfill in self._instance.get_backfills(filters=BulkActionsFilter(statuses=statuses)):
            keys.update(backfill.partition_names or ())
            if backfill.asset_backfill_data is not None:
                targets = backfill.asset_backfill_data.target_subset.iterate_asset_partitions()
                keys.update(target.partition_key or "" for target in targets)
        return keys

    def forget_key(self, partitions_name: str, key: str) -> None:
        """Take a key out of its partition set; harmless where it is gone."""
        self._instance.delete_dynamic_partition(partitions_name, key)

    # -- runs

    def list_run_ids(self) -> set[str]:
        """The ids of all runs."""
        return set(self._instance.run_storage.get_run_ids())

    def pages_of_ended_runs(self) -> Iterator[list[RunFacts]]:
        """Every run that has ended, the oldest first."""
        filters, cursor = dg.RunsFilter(statuses=list(FINISHED_STATUSES)), None
        while page := self._instance.get_run_records(filters, limit=PAGE_RUNS, ascending=True, cursor=cursor):
            yield [_facts(record) for record in page]
            cursor = page[-1].dagster_run.run_id

    def list_runs_of_key(self, key: str) -> list[dg.DagsterRun]:
        """Every run of a partition."""
        found: list[dg.DagsterRun] = []
        filters, cursor = dg.RunsFilter(tags={PARTITION_TAG: key}), None
        while page := self._instance.get_runs(filters, limit=PAGE_RUNS, cursor=cursor):
            found += page
            cursor = page[-1].run_id
        return found

    def call_off(self, run: dg.DagsterRun, why: str) -> None:
        """End a run that nobody works on."""
        self._instance.report_run_canceled(run, message=why)

    def list_ended(self, run_ids: Sequence[str]) -> list[str]:
        """Those of these runs that have ended, or of which Dagster knows nothing any more."""
        ended: list[str] = []
        for page in chunk(run_ids, PAGE_RUNS):
            runs = self._instance.get_runs(filters=dg.RunsFilter(run_ids=list(page)))
            unfinished = {run.run_id for run in runs if not run.is_finished}
            ended += [run_id for run_id in page if run_id not in unfinished]
        return ended

    def forget_runs(self, run_ids: Sequence[str]) -> None:
        """Remove runs with all that they left in Dagster's storage; what is missing already is no error."""
        for page in chunk(run_ids, PAGE_RUNS):
            # Dagster itself keeps the executions of checks when it deletes a run.
            checks = AssetCheckExecutionsTable
            self._on_events(delete(checks).where(checks.c.run_id.in_(page)).returning(checks.c.id))
            for run_id in page:
                self._instance.event_log_storage.delete_events(run_id)
                if isinstance(self._instance.compute_log_manager, LocalComputeLogManager):
                    self._instance.compute_log_manager.delete_logs(prefix=[run_id])
                # Last, so that a prune which is killed in between finds the run again.
                self._instance.delete_run(run_id)

    # -- events and ticks

    def sweep_events(self, before: datetime, *, dry_run: bool) -> int:
        """Remove what runs logged before that moment and nobody needs for the lineage; how many rows."""
        events = SqlEventLogStorageTable
        told = or_(events.c.dagster_event_type.is_(None), events.c.dagster_event_type.in_(DISPOSABLE_EVENTS))
        moment = _as_stored(before)
        sweep = Sweep(
            what="events of runs",
            key=events.c.id,
            past=and_(events.c.timestamp < moment, told),
            ordered_by=events.c.timestamp,
            until=moment,
        )
        return walk(sweep, self._on_events, dry_run=dry_run)

    def sweep_ticks(self, now: datetime, *, dry_run: bool) -> int:
        """Remove ticks that are older than `retention` in dagster.yaml says.

        The daemon does it for a sensor or schedule whenever it ticks, never for those that are gone.
        """
        storage = self._instance.schedule_storage
        if not isinstance(storage, SqlScheduleStorage):
            return 0
        ticks = JobTickTable
        past = [
            and_(
                ticks.c.type == kind.value,
                ticks.c.status == status.value,
                ticks.c.timestamp < _as_stored(now - timedelta(days=days)),
            )
            for kind in InstigatorType
            for status, days in self._instance.get_tick_retention_settings(kind).items()
            if days > 0
        ]
        sweep = Sweep(what="ticks", key=ticks.c.id, past=or_(false(), *past))
        return walk(sweep, _executing(storage.connect), dry_run=dry_run)

    @property
    def _on_events(self) -> Callable[[Executable], Sequence[Row[Any]]]:
        storage = self._instance.event_log_storage
        if not isinstance(storage, SqlEventLogStorage):
            raise TypeError(f"the event log of {type(storage).__name__} is not kept in SQL")
        return _executing(storage.index_connection)


def _executing(
    connect: Callable[[], AbstractContextManager[Connection]],
) -> Callable[[Executable], Sequence[Row[Any]]]:
    def execute(statement: Executable) -> Sequence[Row[Any]]:
        with connect() as connection:
            return connection.execute(statement).all()

    return execute


def _as_stored(moment: datetime) -> datetime:
    """Dagster's columns of moments have no zone and are in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _facts(record: dg.RunRecord) -> RunFacts:
    run = record.dagster_run
    # A run that was cancelled in the queue has no end of its own.
    ended_at = (
        record.update_timestamp if record.end_time is None else datetime.fromtimestamp(record.end_time, UTC)
    )
    return RunFacts(
        run_id=run.run_id,
        key=run.tags.get(PARTITION_TAG),
        failed=run.status is dg.DagsterRunStatus.FAILURE,
        ended_at=ended_at,
    )
