"""Requests whose run went away without a word are settled: retried, failed or cancelled.

The jobs table is the truth for the caller, Dagster's run is the truth for the work. A request that is
RUNNING must have a run that gives signs of life; this sensor is what makes "RUNNING for ever" impossible.
"""

from __future__ import annotations

from enum import Enum

import dagster as dg

from pipeline3d.requests.ledger import JobLedger, RunningJob
from pipeline3d.values import FailureReport
from resources.jobs_database import JobsDatabase

QUIET_S = 15.0
"""Three missed heartbeats: time to look at the run."""
RETRY_DELAY_S = 2.0

WORKER_LOST = FailureReport(
    code="worker_lost",
    message="The worker that processed the request went away.",
    hint="It is tried again up to the request's limit; then look at the workers' logs and memory.",
    retryable=True,
)
NO_RESULT = FailureReport(
    code="no_result", message="The run ended without delivering a result.", retryable=True
)


class Verdict(Enum):
    """What becomes of a silent request."""

    LEAVE = "leave"
    REQUEUE = "requeue"
    REQUEUE_AND_END_RUN = "requeue and end the run"
    NO_RESULT = "no result"
    CANCEL = "cancel"


def judge(run_status: dg.DagsterRunStatus | None, silent_s: float, silent_after_s: float) -> Verdict:
    """Decide by the state of the request's run and how long it has been silent."""
    if run_status is None or run_status is dg.DagsterRunStatus.FAILURE:
        return Verdict.REQUEUE
    if run_status is dg.DagsterRunStatus.CANCELED:
        return Verdict.CANCEL
    if run_status is dg.DagsterRunStatus.SUCCESS:
        return Verdict.NO_RESULT
    return Verdict.REQUEUE_AND_END_RUN if silent_s > silent_after_s else Verdict.LEAVE


def carry_out(verdict: Verdict, job: RunningJob, ledger: JobLedger, instance: dg.DagsterInstance) -> None:
    """Write the verdict to the request, fenced by the run that it was about."""
    if verdict is Verdict.CANCEL:
        ledger.mark_canceled(job.job_id, job.run_id)
    elif verdict is Verdict.NO_RESULT:
        ledger.requeue(job.job_id, job.run_id, NO_RESULT, RETRY_DELAY_S)
    elif verdict in (Verdict.REQUEUE, Verdict.REQUEUE_AND_END_RUN):
        if verdict is Verdict.REQUEUE_AND_END_RUN:
            end_run(instance, job.run_id)
        ledger.requeue(job.job_id, job.run_id, WORKER_LOST, RETRY_DELAY_S)


def end_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Mark a run whose process is gone as failed, so that it gives back its slot."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, "The run gave no sign of life; its request was taken from it.")


def build_reconcile_sensor(silent_after_s: float) -> dg.SensorDefinition:
    """The sensor that settles silent requests; a live run is given `silent_after_s` seconds."""

    @dg.sensor(
        name="reconcile_requests",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Settles requests whose run was killed, cancelled or lost.",
    )
    def reconcile_requests(context: dg.SensorEvaluationContext, jobs_database: JobsDatabase) -> dg.SkipReason:
        ledger = jobs_database.connect()
        settled = 0
        for job in ledger.list_running(silent_for_s=min(QUIET_S, silent_after_s)):
            run = context.instance.get_run_by_id(job.run_id)
            verdict = judge(run.status if run else None, job.silent_s, silent_after_s)
            if verdict is not Verdict.LEAVE:
                context.log.warning("request %s: %s", job.job_id, verdict.value)
                carry_out(verdict, job, ledger, context.instance)
                settled += 1
        return dg.SkipReason(f"{settled} requests settled." if settled else "Every request is in order.")

    return reconcile_requests
