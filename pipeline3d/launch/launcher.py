"""The run launcher: hands a run to a warm worker instead of starting an interpreter for it.

Derived from dagster-celery's, whose defects it mends: a cancelled run ends as CANCELED and not as FAILURE, a
lost worker or host is noticed, a lost message is sent again, and a run is executed by one process only.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dagster import DagsterRun, DagsterRunStatus, Field, IntSource, StringSource
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, ResumeRunContext, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.errors import LeaseLost, UnknownJob
from pipeline3d.launch.celery_app import build_app, plan_result_backend, publish
from pipeline3d.requests.fleet import Fleet, LaunchedRun
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.settlement import is_called_off
from pipeline3d.values import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster._config import UserConfigSchema
    from dagster._serdes import ConfigurableClassData

PARTITION_TAG = "dagster/partition"
ATTEMPT_TAG = "pipeline3d/attempt"

logger = logging.getLogger("pipeline3d.launcher")


class WarmRunLauncher(CeleryRunLauncher):
    """Launches runs on the workers of `pipeline3d worker`."""

    def __init__(
        self,
        *,
        database_url: str,
        broker_url: str,
        default_queue: str = "cpu",
        silent_after_s: int = 60,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        backend = plan_result_backend(broker_url, database_url)
        super().__init__(default_queue=default_queue, broker=broker_url, backend=backend, inst_data=inst_data)
        self.celery = build_app(broker_url, backend)
        engine = create_sync_engine(database_url)
        self._fleet = Fleet(engine)
        self._ledger = JobLedger(engine)
        self._silent_after_s = silent_after_s

    def launch_run(self, context: LaunchRunContext) -> None:
        """Record the run, then tell the broker of it; a broker that is away is told later by a worker."""
        run = context.dagster_run
        if is_called_off(self._ledger, request_of(run), attempt_of(run)):
            self._instance.report_run_canceled(run, message="The request was cancelled while its run waited.")
            return
        queue = run.tags.get(DAGSTER_CELERY_QUEUE_TAG, self.default_queue)
        if not self._fleet.launch(
            run.run_id,
            job_name=run.job_name,
            queue=queue,
            job_id=request_of(run),
            attempt=attempt_of(run),
        ):
            # Dagster knows one run for each run key and sensor; there are several dispatch sensors.
            self._instance.report_run_canceled(run, message="Another run of this attempt is on its way.")
            return
        try:
            publish(self.celery, run.run_id, queue)
        except Exception as error:  # whatever broker it is, its message is only a hint
            logger.warning("the broker was not told of run %s (%s): a worker will find it", run.run_id, error)

    def terminate(self, run_id: str) -> bool:
        """Ask for the end of a run: the worker's warden ends it and all its processes."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if run.status is not DagsterRunStatus.CANCELING:
            self._instance.report_run_canceling(run)
        self.cancel_request(run)
        launched = self._fleet.request_stop(run_id)
        if launched is None or launched.worker_id is None:
            # Nobody works on it, and whoever would take it now sees that it has ended.
            self._instance.report_run_canceled(run, message="Cancelled before a worker took it.")
        return True

    def cancel_request(self, run: DagsterRun) -> None:
        """Cancel the request of a run that is ended by hand, where it is this run's."""
        job_id = request_of(run)
        if job_id is None:
            return
        try:
            job = self._ledger.read_job(job_id)
            waits = job.state is JobState.QUEUED and job.attempt == attempt_of(run)
            if waits or job.run_id == run.run_id:
                self._ledger.request_cancel(job_id)
        except (LeaseLost, UnknownJob):
            return

    @property
    def supports_resume_run(self) -> bool:
        """Attempts are counted in the jobs table; nothing is resumed in the middle."""
        return False

    def resume_run(self, context: ResumeRunContext) -> None:
        """Not supported."""
        raise NotImplementedError("A lost run is tried again as a new attempt of its request.")

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Judge by the signs of life of the worker that has the run."""
        if run.remote_job_origin is None:
            # Somebody executes it in a process of their own, with Dagster's command line.
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        launched = self._fleet.find(run.run_id)
        if launched is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "No worker has the run.")
        if launched.worker_id is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "The run waits for a worker.")
        if self._fleet.is_worker_alive(launched.worker_id, self._silent_after_s):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if not self._fleet.could_be_told(self._silent_after_s):
            return CheckRunHealthResult(WorkerStatus.RUNNING, "Postgres was away: its worker may yet speak.")
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"Worker {launched.worker_id} has given no sign of life."
        )

    def get_run_worker_debug_info(
        self, run: DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Where the run is, for the message of a run that failed to start."""
        launched = self._fleet.find(run.run_id)
        return describe_place(launched)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """What dagster.yaml may say of it."""
        return {
            "database_url": Field(StringSource, description="Postgres of the jobs."),
            "broker_url": Field(StringSource, description="What wakes the workers."),
            "default_queue": Field(StringSource, is_required=False, default_value="cpu"),
            "silent_after_s": Field(IntSource, is_required=False, default_value=60),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> WarmRunLauncher:
        """Made by Dagster."""
        return cls(inst_data=inst_data, **config_value)


def request_of(run: DagsterRun) -> UUID | None:
    """The request that a run serves; None for a run of its own."""
    try:
        return UUID(run.tags.get(PARTITION_TAG, ""))
    except ValueError:
        return None


def attempt_of(run: DagsterRun) -> int | None:
    """The attempt that a run was started for; None for one that was started by hand."""
    told = run.tags.get(ATTEMPT_TAG, "")
    return int(told) if told.isdigit() and not run.parent_run_id else None


def describe_place(launched: LaunchedRun | None) -> str:
    """Where a run is, in words."""
    if launched is None:
        return "No worker has the run, and none will take it."
    if launched.worker_id is None:
        return f"The run waits for a worker of queue {launched.queue}."
    return f"The run is at worker {launched.worker_id}, process {launched.worker_pid}."
