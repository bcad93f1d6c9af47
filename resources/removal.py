"""Removing what deleted requests left: objects, runs with their events and output, partitions, rows.

Everything outside the row goes first and the row last: a removal that is killed, or that meets an object
store that is away, is found again and begun anew, and every step is harmless where it was taken before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from uuid import UUID

import dagster as dg

from pipeline3d.errors import DatabaseUnavailable, Pipeline3dError
from pipeline3d.requests.removal import Leftover, Removals
from pipeline3d.store.keys import COMPUTE_LOGS, LOG_STORAGE, job_prefix, temporary_key
from pipeline3d.store.s3 import S3Store
from resources.jobs_database import JobsDatabase
from resources.object_store import ObjectStore
from resources.run_history import RunHistory

LOOK_AGAIN_S = 1.0
"""Between two looks at requests whose runs are being stopped: nobody tells when the last of them is over."""
PATIENCE_S = 600.0
"""A run that was told to stop so long ago and still counts as unfinished has nobody who works on it."""
RUN_KEY_TAG = "dagster/run_key"
NOT_BEGUN = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED})

logger = logging.getLogger("pipeline3d.removal")


class Remover:
    """Removes deleted requests from one installation."""

    def __init__(self, removals: Removals, connect_store: Callable[[], S3Store], history: RunHistory) -> None:
        self._removals = removals
        self._connect_store = connect_store
        self._history = history

    def work_for(self, seconds: float) -> list[UUID]:
        """Remove what there is, and what comes in that time; the requests that are gone."""
        give_up_at = monotonic() + seconds
        removed: list[UUID] = []
        with self._removals.listening() as listener:
            while True:
                gone, waiting = self.remove_all(give_up_at)
                removed += gone
                left_s = give_up_at - monotonic()
                if left_s <= 0:
                    return removed
                listener.wait(min(left_s, LOOK_AGAIN_S) if waiting else left_s)

    def remove_all(self, give_up_at: float) -> tuple[list[UUID], int]:
        """Remove every deleted request that may go; those that are gone, and how many are still there.

        What cannot be removed now keeps no other one from it.
        """
        removed: list[UUID] = []
        waiting = 0
        for page in self._removals.pages_of_leftovers():
            for leftover in page:
                try:
                    done = self.remove(leftover)
                except DatabaseUnavailable:
                    raise
                except Pipeline3dError as error:
                    logger.warning("request %s is not removed yet: %s", leftover.job_id, error)
                    done = False
                if done:
                    removed.append(leftover.job_id)
                else:
                    waiting += 1
                if monotonic() > give_up_at:
                    return removed, waiting
        return removed, waiting

    def remove(self, leftover: Leftover) -> bool:
        """Remove one request with all that it left; False where something may still be written for it."""
        runs = self._history.list_runs_of_key(str(leftover.job_id))
        if not leftover.may_go or not self._is_quiet(leftover, runs):
            return False
        run_ids = sorted({run.run_id for run in runs} | set(self._removals.list_launched(leftover.job_id)))
        self._remove_objects(leftover.job_id, run_ids)
        self._history.forget_runs(run_ids)
        # after its runs, as in the nightly prune
        self._history.forget_key(leftover.family, str(leftover.job_id))
        return self._removals.forget(leftover.job_id)

    def _is_quiet(self, leftover: Leftover, runs: Sequence[dg.DagsterRun]) -> bool:
        """Whether no run of the request goes on or is still to come; calls off those that have not begun."""
        unfinished = [run for run in runs if not run.is_finished]
        is_patient = leftover.waited_s <= PATIENCE_S
        for run in unfinished:
            if run.status in NOT_BEGUN or not is_patient:
                self._history.call_off(run, "Its request was deleted.")
        if unfinished:
            return False  # the next look sees whether they have ended
        if is_patient and self._removals.list_launched(leftover.job_id):
            return False  # its process is about to end, or its worker to be found dead
        is_here = any(run.tags.get(RUN_KEY_TAG) == leftover.run_key for run in runs)
        return is_here or not leftover.is_expected

    def _remove_objects(self, job_id: UUID, run_ids: Sequence[str]) -> None:
        store = self._connect_store()
        own = self._removals.forget_uploads(job_id)
        prefixes = [job_prefix(job_id), *(f"{COMPUTE_LOGS}/{LOG_STORAGE}/{run_id}/" for run_id in run_ids)]
        keys = [*own, *(key for prefix in prefixes for key in store.list_keys(prefix))]
        # what a run left that was killed while it stored something
        keys += [temporary_key(UUID(run_id)) for run_id in run_ids]
        if keys:
            store.remove_many(keys)


class Removal(dg.ConfigurableResource["Removal"]):
    """Where everything is that a deleted request left."""

    jobs_database: JobsDatabase
    object_store: ObjectStore

    def connect(self, instance: dg.DagsterInstance) -> Remover:
        """A remover for this Dagster instance. Connects to the object store when it has something to do."""
        return Remover(self.jobs_database.connect_removals(), self.object_store.connect, RunHistory(instance))
