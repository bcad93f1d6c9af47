"""The run queue, as Dagster's own, with a bell: a run that is enqueued in the daemon starts at once.

Dagster looks into its queue at intervals of at least a second. The dispatch sensors enqueue their runs in the
daemon's own process, so its dequeuing thread can be told instead (`pipeline3d.launch.daemon` listens).
"""

from __future__ import annotations

import threading

from dagster import DagsterRun
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

QUEUE_BELL = threading.Event()
"""Set when a run was enqueued in this process."""


class PromptRunCoordinator(QueuedRunCoordinator):
    """Rings when it has enqueued a run."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Enqueue, then ring."""
        run = super().submit_run(context)
        QUEUE_BELL.set()
        return run
