"""Requests whose run went away without a word are settled: retried, failed or cancelled.

The jobs table is the truth for the caller, Dagster's run is the truth for the work. A request that is
RUNNING must have a run that gives signs of life; this sensor is what makes "RUNNING for ever" impossible.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum

import dagster as dg

from pipeline3d.errors import LeaseLost
from pipeline3d.requests.ledger import JobLedger, RunningJob
from pipeline3d.values import FailureReport
from resources.jobs_database import JobsDatabase

QUIET_S = 15.0
"""Three missed heartbeats: time to look at the run."""
RETRY_DELAY_S = 2.0
RUN_KEY_TAG = "dagster/run_key"

WORKER_LOST = FailureReport(
    code="worker_lost",
    message="The worker that processed the request went away.",
    hint="It is tried again up to the request's limit; then look at the workers' logs and memory.",
    retryable=True,
)
NO_RESULT = FailureReport(
    code="no_result", message="The run ended without delivering a result.", retryable=True
)


RUN_NEVER_BEGAN = FailureReport(
    code="worker_lost",
    message="The run ended before its first step.",
    hint="It is tried again up to the request's limit; then look at the run's log.",
    retryable=True,
)


class Verdict(Enum):
    """What becomes of a request that Dagster was given."""

    LEAVE = "leave"
    RETRY = "retry: the run is gone"
    RETRY_AND_END_RUN = "retry: the run is silent and was ended"
    RETRY_WITHOUT_RESULT = "retry: the run ended without a result"
    CANCEL = "cancel"


def judge_running(run_status: dg.DagsterRunStatus | None, *, presumed_dead: bool) -> Verdict:
    """Decide about a request that a run owns but is silent about."""
    if run_status is None or run_status is dg.DagsterRunStatus.FAILURE:
        return Verdict.RETRY
    if run_status is dg.DagsterRunStatus.CANCELED:
        return Verdict.CANCEL
    if run_status is dg.DagsterRunStatus.SUCCESS:
        return Verdict.RETRY_WITHOUT_RESULT
    return Verdict.RETRY_AND_END_RUN if presumed_dead else Verdict.LEAVE


def judge_dispatched(run_status: dg.DagsterRunStatus | None) -> Verdict:
    """Decide about a request that was dispatched and has not begun. No run yet: it is claimed again."""
    if run_status is dg.DagsterRunStatus.CANCELED:
        return Verdict.CANCEL
    if run_status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS):
        return Verdict.RETRY
    return Verdict.LEAVE


def settle_running(ledger: JobLedger, instance: dg.DagsterInstance, silent_after_s: float) -> list[str]:
    """Settle the silent requests; returns what was done, one sentence each."""
    done = []
    for job in ledger.list_running(min(QUIET_S, silent_after_s)):
        run = instance.get_run_by_id(job.run_id)
        verdict = judge_running(run.status if run else None, presumed_dead=job.silent_s > silent_after_s)
        if verdict is Verdict.LEAVE:
            continue
        if verdict is Verdict.RETRY_AND_END_RUN and run is not None:
            instance.report_run_failed(run, "The run gave no sign of life; its request was taken from it.")
        with suppress(LeaseLost):  # it finished, or its run spoke, between the look and the verdict
            settle_one(ledger, job, verdict)
            done.append(f"request {job.job_id}: {verdict.value}")
    return done


def settle_one(ledger: JobLedger, job: RunningJob, verdict: Verdict) -> None:
    """Write the verdict to the request, fenced by the run that it is about."""
    if verdict is Verdict.CANCEL:
        ledger.mark_canceled(job.job_id, job.run_id)
    else:
        report = NO_RESULT if verdict is Verdict.RETRY_WITHOUT_RESULT else WORKER_LOST
        ledger.requeue(job.job_id, job.run_id, report, RETRY_DELAY_S)


def settle_dispatched(ledger: JobLedger, instance: dg.DagsterInstance, lease_s: float) -> list[str]:
    """Ask what became of the runs of requests that were dispatched long ago."""
    done = []
    for claim in ledger.list_undispatched(lease_s):
        runs = instance.get_runs(filters=dg.RunsFilter(tags={RUN_KEY_TAG: claim.run_key}), limit=1)
        verdict = judge_dispatched(runs[0].status if runs else None)
        if verdict is Verdict.LEAVE:
            if runs:
                ledger.renew_lease(claim.job_id, claim.attempt, lease_s)
            continue
        with suppress(LeaseLost):  # it began between the look and the verdict
            if verdict is Verdict.CANCEL:
                ledger.cancel_queued(claim.job_id, claim.attempt)
            else:
                ledger.next_attempt(claim.job_id, claim.attempt, RUN_NEVER_BEGAN, RETRY_DELAY_S)
            done.append(f"request {claim.job_id}: {verdict.value}")
    return done


def build_reconcile_sensor(lease_s: float, silent_after_s: float) -> dg.SensorDefinition:
    """The sensor that settles what runs left behind."""

    @dg.sensor(
        name="reconcile_requests",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Settles requests whose run was killed, cancelled or lost, and overdue ones.",
    )
    def reconcile_requests(context: dg.SensorEvaluationContext, jobs_database: JobsDatabase) -> dg.SkipReason:
        ledger = jobs_database.connect()
        done = settle_running(ledger, context.instance, silent_after_s)
        done += settle_dispatched(ledger, context.instance, lease_s)
        done += [f"request {job_id}: expired" for job_id in ledger.expire_overdue()]
        for sentence in done:
            context.log.warning(sentence)
        return dg.SkipReason("; ".join(done) if done else "Every request is in order.")

    return reconcile_requests
