"""What becomes of a request when its run has ended, however it ended: one rule for all who settle.

A run settles its own request in the normal way (it succeeds, or a step reports why it failed). This is for
the rest: a run that was stopped, that died, or that ended without a word. Whoever notices first settles it
(the process that ran it, the worker's warden, the reconciler); the guards of the statements make sure that it
happens once.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from uuid import UUID

from pipeline3d.errors import LeaseLost, UnknownJob
from pipeline3d.requests.backoff import retry_delay_s
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.states import is_finished
from pipeline3d.values import FailureReport, JobState

WORKER_LOST = FailureReport(
    code="worker_lost",
    message="The worker that processed the request went away.",
    hint="It is tried again up to the request's limit; then look at the workers' logs and memory.",
    retryable=True,
)
RUN_FAILED = FailureReport(
    code="run_failed",
    message="The run ended with a failure outside of its stages.",
    hint="It is tried again up to the request's limit; then look at the run's log.",
    retryable=True,
)
NO_RESULT = FailureReport(
    code="no_result", message="The run ended without delivering a result.", retryable=True
)


class RunFate(StrEnum):
    """How a run stands. The values are Dagster's names where Dagster has one."""

    SUCCEEDED = "SUCCESS"
    FAILED = "FAILURE"
    CANCELED = "CANCELED"
    LOST = "LOST"
    """Its process is gone, or nobody knows the run."""
    ALIVE = "ALIVE"


REPORT_BY_FATE = {RunFate.SUCCEEDED: NO_RESULT, RunFate.FAILED: RUN_FAILED, RunFate.LOST: WORKER_LOST}


def fate_of_status(status: str | None) -> RunFate:
    """A Dagster run's status (None: there is no such run) as a fate."""
    if status is None:
        return RunFate.LOST
    try:
        return RunFate(status)
    except ValueError:
        return RunFate.ALIVE


def is_called_off(ledger: JobLedger, job_id: UUID | None, attempt: int | None) -> bool:
    """Whether the request of a run that waits was cancelled meanwhile, or went on to another attempt."""
    if job_id is None or attempt is None:
        return False
    try:
        job = ledger.read_job(job_id)
    except UnknownJob:
        return True
    return job.attempt != attempt or job.state is not JobState.QUEUED


def settle_ended_run(
    ledger: JobLedger, job_id: UUID, run_id: str, fate: RunFate, *, attempt: int | None = None
) -> bool:
    """Give the request of an ended run its next attempt or its outcome; whether there was something to do.

    `attempt` is the attempt that the run was started for: it settles a run that ended before it began.
    Harmless when the request was settled already.
    """
    try:
        job = ledger.read_job(job_id)
        if fate is RunFate.ALIVE or is_finished(job.state):
            return False
        if fate is RunFate.CANCELED:
            ledger.mark_canceled(job_id, run_id)
        else:
            delay_s = retry_delay_s(job_id, job.attempt)
            ledger.requeue(job_id, run_id, REPORT_BY_FATE[fate], delay_s)
    except LeaseLost:
        return attempt is not None and _settle_unbegun(ledger, job_id, attempt, fate)
    except UnknownJob:
        return False
    return True


def _settle_unbegun(ledger: JobLedger, job_id: UUID, attempt: int, fate: RunFate) -> bool:
    """The same for an attempt that its run never took over."""
    if fate is RunFate.CANCELED:
        return ledger.cancel_queued(job_id, attempt)
    with suppress(LeaseLost):
        ledger.next_attempt(job_id, attempt, REPORT_BY_FATE[fate], retry_delay_s(job_id, attempt))
        return True
    return False
