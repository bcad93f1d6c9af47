"""The request that a Dagster run works for, as a resource: begun when the run starts, closed when it ends.

The partition key is the request's id; the attempt travels in a run tag. A run launched by hand has no
attempt: the jobs table decides what it may do.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import dagster as dg
from sqlalchemy import exc as sa_exc

from pipeline3d.errors import LeaseLost, Pipeline3dError
from pipeline3d.log_masking import mask
from pipeline3d.values import STAGES_BY_ROUTE, FailureReport
from resources.jobs_database import JobsDatabase
from resources.run_guard import RunGuard, enter_guard, guard_of, leave_guard

ATTEMPT_TAG = "pipeline3d/attempt"
PARTITION_TAG = "dagster/partition"
DELIVERIES = frozenset(stages[-1] for stages in STAGES_BY_ROUTE.values())
"""The stages with which a request can end."""
INTERNAL_ERROR = "internal_error"
REJECTED = "mesh_rejected"

logger = logging.getLogger("pipeline3d.runs")


class RequestRun(dg.ConfigurableResource["RequestRun"]):
    """Ties a run to its request: state, progress, heartbeat and scratch folder."""

    jobs_database: JobsDatabase
    scratch_dir: str
    heartbeat_s: float = 5.0
    interrupts: bool = False
    """Whether this process belongs to a worker, so that a step whose request was lost may be interrupted."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Take the request over before the first step. Raises LeaseLost when somebody else has it."""
        run = context.run
        if run is None or PARTITION_TAG not in run.tags:
            return
        # A re-execution in the UI copies the tags of its parent; it is a run by hand all the same.
        attempt = None if run.parent_run_id else run.tags.get(ATTEMPT_TAG)
        enter_guard(
            run.run_id,
            RunGuard(
                self.jobs_database.connect(),
                job_id=_request_id(run.tags[PARTITION_TAG]),
                run_id=run.run_id,
                attempt=int(attempt) if attempt else None,
                delivers=run_delivers(run),
                scratch_root=Path(self.scratch_dir),
                heartbeat_s=self.heartbeat_s,
                on_lost=interrupt_step if self.interrupts else None,
            ),
        )

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Stop the heartbeat and remove the scratch folder, however the run ended."""
        if context.run is not None:
            leave_guard(context.run.run_id)

    @contextmanager
    def stage(self, context: dg.AssetExecutionContext) -> Iterator[RunGuard]:
        """The body of one asset, reported to the request as a stage of the asset's name."""
        guard = guard_of(context.run.run_id)
        with guard.stage(context.asset_key.path[-1]):
            yield guard

    def record_failure(self, run_id: str, stage: str, error: BaseException | None) -> None:
        """Write why a step failed to the request, and a line to the log; a traceback if the fault is ours."""
        report = explain_failure(error, stage)
        if report.code == REJECTED:
            report = guard_of(run_id).rejections.get(stage, report)
        unexpected = error if report.code == INTERNAL_ERROR else None
        logger.warning("run %s, stage %s: %s", run_id, stage, error, exc_info=unexpected)
        if not isinstance(error, LeaseLost):
            guard_of(run_id).fail(report)


def interrupt_step() -> None:
    """End the step of this process at once: Dagster raises the signal in it."""
    os.kill(os.getpid(), signal.SIGINT)


def run_delivers(run: dg.DagsterRun) -> bool:
    """Whether the run goes through to the delivery, so that the request can end with it."""
    # No selection (None or empty, by the way the run was made) is everything.
    names = {key.path[-1] for key in run.asset_selection or ()}
    steps = set(run.step_keys_to_execute or ())
    return all(not chosen or not chosen.isdisjoint(DELIVERIES) for chosen in (names, steps))


def explain_failure(error: BaseException | None, stage: str) -> FailureReport:
    """An exception of a step as the request's error: our own tree speaks for itself, the rest is hidden."""
    if isinstance(error, Pipeline3dError):
        return FailureReport(
            code=error.code,
            message=mask(error.message),
            hint=error.hint,
            stage=stage,
            retryable=error.retryable,
        )
    if isinstance(error, dg.DagsterError) and "CheckFailed" in type(error).__name__:
        return FailureReport(
            code=REJECTED,
            message="The generated mesh did not pass its checks, so it is not delivered.",
            hint="Try another picture; the checks and their values are shown with the run.",
            stage=stage,
        )
    if isinstance(error, MemoryError):
        return FailureReport(
            code="out_of_memory", message="The worker ran out of memory.", stage=stage, retryable=True
        )
    if is_outage_of_postgres(error):
        return FailureReport(
            code="database_unavailable",
            message=f"Postgres went away in the middle of the stage {stage}.",
            stage=stage,
            retryable=True,
        )
    return FailureReport(
        code=INTERNAL_ERROR,
        message=f"The stage {stage} failed unexpectedly ({type(error).__name__}).",
        hint="The run's log has the details; report it to whoever runs this installation.",
        stage=stage,
    )


def is_outage_of_postgres(error: BaseException | None) -> bool:
    """Whether Dagster's own storage lost its connection, in whatever that was wrapped.

    Between two statements the pool waits for the server; a statement that is under way when it dies fails.
    """
    while error is not None:
        if isinstance(error, sa_exc.OperationalError | sa_exc.InterfaceError):
            return True
        error = error.__cause__
    return False


def _request_id(partition_key: str) -> UUID:
    try:
        return UUID(partition_key)
    except ValueError as error:
        raise LeaseLost(f"the partition {partition_key!r} is not the id of a request") from error
