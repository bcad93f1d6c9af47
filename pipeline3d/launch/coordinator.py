"""The run queue, as Dagster's own, with a bell: a run that is enqueued in the daemon starts at once.

Dagster looks into its queue at intervals of at least a second. The dispatch sensors enqueue their runs in the
daemon's own process, so its dequeuing thread can be told instead (`pipeline3d.launch.daemon` listens).
"""

from __future__ import annotations

import threading

from dagster import DagsterRun, DagsterRunStatus
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from pipeline3d.launch.launcher import WarmRunLauncher

QUEUE_BELL = threading.Event()
"""Set when a run was enqueued in this process."""


class PromptRunCoordinator(QueuedRunCoordinator):
    """Rings when it has enqueued a run."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Enqueue, then ring."""
        run = super().submit_run(context)
        QUEUE_BELL.set()
        return run

    def cancel_run(self, run_id: str) -> bool:
        """Cancel a run; one that waits in the queue has no worker that would tell its request."""
        run = self._instance.get_run_by_id(run_id)
        canceled = super().cancel_run(run_id)
        launcher = self._instance.run_launcher
        if (
            canceled
            and run is not None
            and run.status is DagsterRunStatus.QUEUED
            and isinstance(launcher, WarmRunLauncher)
        ):
            launcher.cancel_request(run)
        return canceled
