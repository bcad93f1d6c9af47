"""The nightly prune as a Dagster resource: every step, in an order in which it may be killed at any moment.

A step plans, removes in batches and says how much it was; a dry run does the same and removes nothing, so it
counts exactly what the next prune removes. A step that fails (the object store is away) does not keep the
others from their work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property

import dagster as dg

from pipeline3d.errors import Pipeline3dError
from pipeline3d.requests import audit, batches, idempotency, logins, pruning, quotas, sessions, uploads
from pipeline3d.requests.housekeeping import Housekeeper, chunk
from pipeline3d.requests.keys import ended_login_keys
from pipeline3d.requests.pruning import Retention, Sweep
from pipeline3d.requests.webhook_deliveries import deliveries_of_deleted_jobs, old_deliveries
from pipeline3d.store.s3 import S3Store
from resources.file_pruning import FilePruner, Removed
from resources.jobs_database import JobsDatabase
from resources.object_store import ObjectStore
from resources.run_history import RunHistory

PAGE_KEYS = 50
"""Keys that are taken out while their requests are held: a millisecond each."""
SILENT_AFTER = timedelta(days=1)
TASK_ERRORS_KEPT = timedelta(days=7)
ATTEMPTS_KEPT = timedelta(days=7)
SIGNED_OUT_KEPT = timedelta(days=30)
"""Sessions and the keys of logins that have ended: so long one can look where one was signed in."""

logger = logging.getLogger("pipeline3d.prune")


class Prune:
    """One prune, from its plan to its end. `partition_sets` are the names of the sets of our families."""

    def __init__(
        self,
        housekeeper: Housekeeper,
        connect_store: Callable[[], S3Store],
        history: RunHistory,
        *,
        keep: Retention,
        partition_sets: Sequence[str],
        dry_run: bool,
    ) -> None:
        self._housekeeper = housekeeper
        self._history = history
        self._keep = keep
        self._partition_sets = partition_sets
        self._dry_run = dry_run
        self._now = housekeeper.read_clock()
        self._files = FilePruner(housekeeper, connect_store, now=self._now, dry_run=dry_run)

    def run(self) -> Iterator[Removed]:
        """Take every step and say what each removed. Raises the first error after the last step."""
        failures: list[Pipeline3dError] = []
        for step in self._steps():
            try:
                yield step()
            except Pipeline3dError as error:
                logger.warning("a step of the prune failed, the others go on: %s", error)
                failures.append(error)
        if failures:
            raise failures[0]

    def _steps(self) -> tuple[Callable[[], Removed], ...]:
        files, keep = self._files, self._keep
        return (
            # before the runs: what is counted here must not depend on whether they are there
            self._prune_events,
            lambda: files.prune_compute_logs(
                set(self._stale_runs), self._all_runs, keep_others=timedelta(days=keep.run_log_days)
            ),
            self._prune_runs,
            # after its runs: a key that is still there is planned again
            self._prune_keys,
            self._prune_ticks,
            self._prune_launched,
            self._prune_workers,
            lambda: self._sweep(pruning.old_history(self._days_ago(keep.history_days))),
            lambda: self._sweep(batches.empty_batches(self._days_ago(keep.history_days))),
            lambda: self._sweep(old_deliveries(self._days_ago(keep.webhook_days))),
            lambda: self._sweep(deliveries_of_deleted_jobs()),
            lambda: self._sweep(pruning.consumed_messages()),
            lambda: self._sweep(pruning.old_task_errors(self._now - TASK_ERRORS_KEPT)),
            lambda: self._sweep(idempotency.used_up_keys()),
            lambda: self._sweep(audit.old_lines(self._days_ago(keep.audit_days))),
            lambda: self._sweep(quotas.old_months(self._days_ago(keep.audit_days))),
            lambda: self._sweep(logins.old_attempts(self._now - ATTEMPTS_KEPT)),
            lambda: self._sweep(sessions.ended_sessions(self._now - SIGNED_OUT_KEPT)),
            lambda: self._sweep(ended_login_keys(self._now - SIGNED_OUT_KEPT)),
            files.prune_expired,
            files.prune_results,
            # the records first: an object that is named to its owner again has one
            lambda: self._sweep(uploads.unused_uploads(self._days_ago(keep.unused_upload_days))),
            lambda: files.prune_uploads(timedelta(days=keep.unused_upload_days)),
            files.prune_temporary,
        )

    # -- the plan

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        return {name: self._history.list_keys(name) for name in self._partition_sets}

    @cached_property
    def _stale_keys(self) -> dict[str, list[str]]:
        """Keys beyond the window, by partition set. What is no request's key is not ours to judge."""
        busy = self._history.list_busy_keys()
        oldest, at_most = self._days_ago(self._keep.partition_days), self._keep.live_partitions
        stale = {}
        for name, keys in self._keys.items():
            facts = self._housekeeper.read_standings(keys)
            idle = [fact if fact.key not in busy else fact.still_needed() for fact in facts]
            stale[name] = pruning.choose_stale_keys(idle, oldest=oldest, at_most=at_most)
        return stale

    @cached_property
    def _stale_runs(self) -> list[str]:
        stale = {key for keys in self._stale_keys.values() for key in keys}
        live = {key for keys in self._keys.values() for key in keys} - stale
        return [
            run.run_id
            for page in self._history.pages_of_ended_runs()
            for run in page
            if pruning.is_stale_run(run, live=live, stale=stale, now=self._now, keep=self._keep)
        ]

    @cached_property
    def _all_runs(self) -> set[str]:
        return self._history.list_run_ids()

    def _days_ago(self, days: int) -> datetime:
        return self._now - timedelta(days=days)

    # -- the steps

    def _prune_events(self) -> Removed:
        before = self._days_ago(self._keep.run_log_days)
        return Removed(what="events of runs", count=self._history.sweep_events(before, dry_run=self._dry_run))

    def _prune_runs(self) -> Removed:
        if not self._dry_run:
            self._history.forget_runs(self._stale_runs)
        return Removed(what="runs", count=len(self._stale_runs))

    def _prune_keys(self) -> Removed:
        count = 0
        for name, keys in self._stale_keys.items():
            for page in chunk(keys, PAGE_KEYS):
                count += len(page) if self._dry_run else self._forget_keys(name, page)
        return Removed(what="partitions", count=count)

    def _forget_keys(self, name: str, keys: Sequence[str]) -> int:
        """Take out the keys whose request has not begun again since the plan was made."""
        with self._housekeeper.holding_finished(keys) as finished:
            for key in finished:
                self._history.forget_key(name, key)
            return len(finished)

    def _prune_ticks(self) -> Removed:
        return Removed(what="ticks", count=self._history.sweep_ticks(self._now, dry_run=self._dry_run))

    @cached_property
    def _ended_launches(self) -> list[str]:
        return self._history.list_ended(self._housekeeper.list_launched(self._now - SILENT_AFTER))

    def _prune_launched(self) -> Removed:
        if not self._dry_run:
            self._housekeeper.forget_launched(self._ended_launches)
        return Removed(what="launches of ended runs", count=len(self._ended_launches))

    def _prune_workers(self) -> Removed:
        before = self._now - SILENT_AFTER
        return self._sweep(pruning.silent_workers(before, forgotten_runs=self._ended_launches))

    def _sweep(self, sweep: Sweep) -> Removed:
        return Removed(what=sweep.what, count=self._housekeeper.sweep(sweep, dry_run=self._dry_run))


class Housekeeping(dg.ConfigurableResource["Housekeeping"]):
    """Where everything is that a prune looks through."""

    jobs_database: JobsDatabase
    object_store: ObjectStore

    def prune(
        self,
        instance: dg.DagsterInstance,
        keep: Retention,
        *,
        partition_sets: Sequence[str],
        dry_run: bool,
    ) -> Iterator[Removed]:
        """Prune, or say what would be pruned, step by step. Nothing comes where another prune is at work."""
        housekeeper = self.jobs_database.connect_housekeeper()
        with housekeeper.alone() as alone:
            if alone or dry_run:
                yield from Prune(
                    housekeeper,
                    self.object_store.connect,
                    RunHistory(instance),
                    keep=keep,
                    partition_sets=partition_sets,
                    dry_run=dry_run,
                ).run()
