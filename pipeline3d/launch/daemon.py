"""Dagster's daemon without its waiting: `python -m pipeline3d.launch.daemon`.

The daemon looks for sensors to evaluate every five seconds and into the run queue every second; both figures
are fixed in its loops. Here the same work is done by the same functions, but the loops wait for what they
wait for: the sensor loop until a sensor has returned, the queue's loop until a run was enqueued. Everything
else (schedules, backfills, monitoring) is Dagster's own. `dagster-daemon run` works as well, only slower.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import click
from dagster import DagsterInstance
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.controller import create_daemon_of_type, daemon_controller_from_instance
from dagster._daemon.daemon import BackfillDaemon, DaemonIterator, DagsterDaemon, SensorDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

from pipeline3d.launch.coordinator import QUEUE_BELL
from pipeline3d.launch.daemon_errors import report_errors_calmly
from pipeline3d.local.ready_files import tell_ready
from pipeline3d.log_masking import mask_logs

SENSOR_PAUSE_S = 0.1
"""Shortest time between two rounds over the sensors."""
LONGEST_SENSOR_PAUSE_S = 1.0
BACKFILL_PAUSE_S = 5.0
"""A backfill needs two rounds, one to begin and one to see that it is done; Dagster's own take 30 s each."""
BUSY_QUEUE_PAUSE_S = 0.2
"""While runs are waiting for a place, and after each of them."""


class PromptSensorDaemon(SensorDaemon):
    """Evaluates a sensor again as soon as it has returned."""

    def core_loop(
        self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: threading.Event
    ) -> DaemonIterator:
        """Rounds over the sensors, the next one when a sensor is done."""
        futures: dict[str, Future[Any]] = {}
        told = False
        while True:  # whoever iterates stops at the shutdown
            yield from execute_sensor_iteration(
                workspace_process_context,
                self._logger,
                threadpool_executor=self._threadpool_executor,
                submit_threadpool_executor=self._submit_threadpool_executor,
                sensor_tick_futures=futures,
                instrument_elapsed=self.instrument_elapsed,
            )
            yield None
            if not told:
                # Whoever iterates has written the first sign of life by now.
                tell_ready()
                told = True
            shutdown_event.wait(SENSOR_PAUSE_S)
            wait_for_any(futures.values(), LONGEST_SENSOR_PAUSE_S)


class PromptBackfillDaemon(BackfillDaemon):
    """Looks at the backfills more often."""

    def core_loop(
        self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: threading.Event
    ) -> DaemonIterator:
        """Rounds over the backfills that are under way."""
        futures: dict[str, Future[Any]] = {}
        while True:  # whoever iterates stops at the shutdown
            yield from execute_backfill_iteration(
                workspace_process_context,
                self._logger,
                threadpool_executor=self._threadpool_executor,
                backfill_futures=futures,
                submit_threadpool_executor=self._submit_threadpool_executor,
            )
            yield None
            shutdown_event.wait(BACKFILL_PAUSE_S)


class PromptDequeuer(QueuedRunCoordinatorDaemon):
    """Looks into the queue when the bell rings, and at its interval for what other processes enqueued."""

    def core_loop(
        self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: threading.Event
    ) -> DaemonIterator:
        """Rounds over the queue."""
        while True:  # whoever iterates stops at the shutdown
            QUEUE_BELL.clear()
            launched = 0
            for result in self.run_iteration(workspace_process_context):
                launched += result is None
                yield result
            yield None
            QUEUE_BELL.wait(BUSY_QUEUE_PAUSE_S if launched else self.interval_seconds)


def wait_for_any(futures: Iterable[Future[Any]], timeout_s: float) -> None:
    """Return when one of the futures that are under way is done, or when the time is up."""
    under_way = [future for future in futures if not future.done()]
    done = threading.Event()
    for future in under_way:
        future.add_done_callback(lambda _future: done.set())
    done.wait(timeout_s if under_way else 0)


def create_daemons(instance: DagsterInstance) -> list[DagsterDaemon[Any]]:
    """The daemons that Dagster wants for this instance, three of them ours."""
    return [_create_daemon(kind, instance) for kind in instance.get_required_daemon_types()]


def _create_daemon(kind: str, instance: DagsterInstance) -> DagsterDaemon[Any]:
    if kind == SensorDaemon.daemon_type():
        return PromptSensorDaemon(settings=instance.get_sensor_settings())
    if kind == BackfillDaemon.daemon_type():
        return PromptBackfillDaemon(settings=instance.get_backfill_settings())
    if kind == QueuedRunCoordinatorDaemon.daemon_type():
        return PromptDequeuer(interval_seconds=instance.run_coordinator.dequeue_interval_seconds)  # type: ignore[attr-defined]
    return create_daemon_of_type(kind, instance)


@click.command()
@click.option("--workspace", default="workspace.yaml", help="Where the code servers are.")
@click.option("--log-level", default="warning", help="At info it writes three lines for every tick.")
def main(workspace: str, log_level: str) -> None:
    """Run the daemon until it is interrupted."""
    mask_logs()
    setup_interrupt_handlers()
    report_errors_calmly()
    with (
        suppress(KeyboardInterrupt),
        capture_interrupts(),
        DagsterInstance.get() as instance,
        daemon_controller_from_instance(
            instance,
            workspace_load_target=WorkspaceFileTarget(paths=[os.path.abspath(workspace)]),
            gen_daemons=create_daemons,
            code_server_log_level="warning",
            log_level=log_level,
        ) as controller,
    ):
        controller.check_daemon_loop()


if __name__ == "__main__":
    main()
