"""Executes one launched run in this process: take it, run it, settle its request, forget it.

Nothing is started for a run: the definitions are imported, the Dagster instance and the database connections
are open. The order matters: what is taken is settled before it is forgotten, so whoever finds a forgotten
run in the middle can always finish the job.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import OperationalError

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.launch.closing import close_run
from pipeline3d.requests.fleet import Fleet, LaunchedRun
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.settlement import RunFate, is_called_off, settle_ended_run

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

Result = TypeVar("Result")
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0

logger = logging.getLogger("pipeline3d.worker")


class RunExecutor:
    """Executes runs one after the other, for one worker's process."""

    def __init__(self, database_url: str, worker_id: str) -> None:
        self._database_url = database_url
        self._worker_id = worker_id

    @cached_property
    def instance(self) -> DagsterInstance:
        """The one Dagster instance of this process."""
        from dagster import DagsterInstance

        return DagsterInstance.get()

    @cached_property
    def fleet(self) -> Fleet:
        """The launched runs."""
        return Fleet(create_sync_engine(self._database_url, pool_size=1))

    @cached_property
    def ledger(self) -> JobLedger:
        """The requests."""
        return JobLedger(create_sync_engine(self._database_url, pool_size=1))

    def execute(self, run_id: str) -> str:
        """Execute a run that waits; says whether there was one."""
        launched = persist(lambda: self.fleet.take(run_id, self._worker_id, os.getpid()))
        if launched is None:
            return "not waiting"  # the message came twice or late
        try:
            self._execute_taken(launched)
        finally:
            persist(lambda: self._settle(launched))
        return "executed"

    def _execute_taken(self, launched: LaunchedRun) -> None:
        run = self.instance.get_run_by_id(launched.run_id)
        if run is None or run.is_finished:
            return
        if launched.cancel_requested or is_called_off(self.ledger, launched.job_id, launched.attempt):
            self.instance.report_run_canceled(run, message="The request was cancelled before its run began.")
            return
        self._run_in_process(run)

    def _run_in_process(self, run: DagsterRun) -> None:
        from dagster._core.errors import DagsterExecutionInterruptedError
        from dagster._grpc.impl import core_execute_run
        from dagster._utils.hosted_user_process import recon_job_from_origin

        origin = run.job_code_origin
        if origin is None:
            self.instance.report_run_failed(run, message="The run does not say where its code is.")
            return
        try:
            for _event in core_execute_run(
                recon_job_from_origin(origin), run, self.instance, inject_env_vars=False
            ):
                pass
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            logger.warning("run %s was interrupted", run.run_id)
        except Exception:
            # Dagster has written it to the run's own log; a worker goes on with the next run.
            logger.exception("run %s ended with an error outside of its steps", run.run_id)

    def _settle(self, launched: LaunchedRun) -> None:
        message = "The run could not be carried on; the worker's log says why."
        fate = close_run(
            self.instance,
            launched.run_id,
            message,
            canceled=launched.cancel_requested,
            otherwise=RunFate.FAILED,
        )
        if launched.job_id is not None:
            settle_ended_run(self.ledger, launched.job_id, launched.run_id, fate, attempt=launched.attempt)
        self.fleet.finish(launched.run_id, self._worker_id)


def persist(action: Callable[[], Result]) -> Result:
    """Do it again while the database is away, however long: without it there is nothing else to do."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return action()
        except (DatabaseUnavailable, OperationalError) as error:
            logger.warning("Postgres does not answer (%s); trying again in %.1f s", error, pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
