"""Requests whose run went away without a word are settled: retried, failed or cancelled.

The jobs table is the truth for the caller, Dagster's run is the truth for the work, and the worker's signs of
life say whether anybody is at it. Normally a run's own process or its worker's warden has settled everything;
this sensor finds what both of them could not: a host that is gone, a daemon that died between two steps.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC

import dagster as dg

from pipeline3d.defs.sensors.outage import skips_while_postgres_is_away
from pipeline3d.errors import LeaseLost
from pipeline3d.requests.fleet import Fleet
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.settlement import RunFate, fate_of_status, settle_ended_run
from resources.jobs_database import JobsDatabase

QUIET_S = 15.0
"""Three missed heartbeats: time to look at the run."""
ENDLESS_S = 1e9
"""After an outage of Postgres, silence proves nothing until everybody had the time to speak again."""
RUN_KEY_TAG = "dagster/run_key"
LAUNCH_S = 10.0
"""So long a run may be between two steps of its launch: made and queued, told to Dagster and to a worker."""
MOST_RUNS = 10
PRECEDENCE = (RunFate.ALIVE, RunFate.SUCCEEDED, RunFate.FAILED, RunFate.LOST, RunFate.CANCELED)
LAUNCHED = frozenset({dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED})


def settle_silent(
    ledger: JobLedger, fleet: Fleet, instance: dg.DagsterInstance, silent_after_s: float
) -> list[str]:
    """Settle the requests whose run says nothing; returns what was done, one sentence each."""
    done = []
    for job in ledger.list_running(min(QUIET_S, silent_after_s)):
        run = instance.get_run_by_id(job.run_id)
        fate = fate_of_status(run.status.value if run else None)
        if fate is RunFate.ALIVE and job.silent_s <= silent_after_s:
            continue
        if fate is RunFate.ALIVE and run is not None:
            instance.report_run_failed(run, "The run gave no sign of life; its request was taken from it.")
            fate = RunFate.LOST
        if settle_ended_run(ledger, job.job_id, job.run_id, fate):
            done.append(f"request {job.job_id}: its run is {fate.value} and said nothing")
        # If its process does live, its warden ends it.
        fleet.request_stop(job.run_id)
    return done


def settle_dead_workers(
    ledger: JobLedger, fleet: Fleet, instance: dg.DagsterInstance, silent_after_s: float
) -> list[str]:
    """Settle the runs of workers that are gone with their host."""
    done = []
    for launched in fleet.runs_of_dead_workers(silent_after_s):
        run = instance.get_run_by_id(launched.run_id)
        if run is not None and not run.is_finished:
            if launched.cancel_requested:
                instance.report_run_canceled(run)
            else:
                instance.report_run_failed(run, f"Worker {launched.worker_id} gave no sign of life.")
            run = instance.get_run_by_id(launched.run_id)
        fate = fate_of_status(run.status.value if run else None)
        if fate is RunFate.FAILED:
            fate = RunFate.LOST
        if launched.job_id is not None:
            settle_ended_run(ledger, launched.job_id, launched.run_id, fate, attempt=launched.attempt)
        fleet.finish(launched.run_id)
        done.append(f"run {launched.run_id}: worker {launched.worker_id} is gone")
    return done


def settle_called_off(fleet: Fleet, instance: dg.DagsterInstance) -> list[str]:
    """Close the runs of cancelled requests that no worker has taken."""
    done = []
    for launched in fleet.withdraw_called_off():
        run = instance.get_run_by_id(launched.run_id)
        if run is not None and not run.is_finished:
            instance.report_run_canceled(run, message="Cancelled before a worker took it.")
        done.append(f"run {launched.run_id}: cancelled before a worker took it")
    return done


def settle_dispatched(
    ledger: JobLedger, fleet: Fleet, instance: dg.DagsterInstance, lease_s: float
) -> list[str]:
    """Ask what became of the runs of requests that were dispatched a while ago and have not begun.

    Asked at half of a lease: what is on its way is confirmed before a dispatcher may claim it again.
    """
    done = []
    for claim in ledger.list_undispatched(lease_s / 2):
        found = find_run_of_attempt(fleet, instance, claim.run_key)
        if found is None:
            continue  # no run yet: when the lease has run out, it is claimed again
        run_id, fate = found
        if fate is RunFate.ALIVE:
            ledger.renew_lease(claim.job_id, claim.attempt, lease_s)
            continue
        with suppress(LeaseLost):  # it began between the look and the verdict
            if settle_ended_run(ledger, claim.job_id, run_id, fate, attempt=claim.attempt):
                done.append(f"request {claim.job_id}: its run ended before its first step")
    return done


def find_run_of_attempt(
    fleet: Fleet, instance: dg.DagsterInstance, run_key: str
) -> tuple[str, RunFate] | None:
    """The run of an attempt and how it stands; None where there is none.

    Each dispatch sensor may have made one: as long as one of them lives, the attempt does, and that one of
    them was put aside says nothing.
    """
    records = instance.get_run_records(dg.RunsFilter(tags={RUN_KEY_TAG: run_key}), limit=MOST_RUNS)
    fates = [(record.dagster_run.run_id, _fate_of_unbegun(fleet, instance, record)) for record in records]
    return min(fates, key=lambda found: PRECEDENCE.index(found[1]), default=None)


def _fate_of_unbegun(fleet: Fleet, instance: dg.DagsterInstance, record: dg.RunRecord) -> RunFate:
    run = record.dagster_run
    silent_s = time.time() - record.update_timestamp.replace(tzinfo=UTC).timestamp()
    if run.status is dg.DagsterRunStatus.NOT_STARTED and silent_s > LAUNCH_S:
        # The tick that made it ended before it queued it, as where Postgres went away in between.
        instance.report_run_failed(run, "The run was made and never queued.")
        return RunFate.LOST
    if run.status in LAUNCHED and silent_s > LAUNCH_S and fleet.find(run.run_id) is None:
        # The daemon died between the two halves of a launch.
        instance.report_run_failed(run, "The run was launched and no worker was told.")
        return RunFate.LOST
    return fate_of_status(run.status.value)


def build_reconcile_sensor(lease_s: float, silent_after_s: float) -> dg.SensorDefinition:
    """The sensor that settles what runs left behind."""

    @dg.sensor(
        name="reconcile_requests",
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Settles requests whose run was killed, cancelled or lost, and overdue ones.",
    )
    @skips_while_postgres_is_away
    def reconcile_requests(context: dg.SensorEvaluationContext, jobs_database: JobsDatabase) -> dg.SkipReason:
        ledger, fleet = jobs_database.connect(), jobs_database.connect_fleet()
        patience_s = silent_after_s if fleet.could_be_told(silent_after_s) else ENDLESS_S
        done = settle_dead_workers(ledger, fleet, context.instance, patience_s)
        done += settle_silent(ledger, fleet, context.instance, patience_s)
        done += settle_called_off(fleet, context.instance)
        done += settle_dispatched(ledger, fleet, context.instance, lease_s)
        done += [f"request {job_id}: expired" for job_id in ledger.expire_overdue()]
        for sentence in done:
            context.log.warning(sentence)
        return dg.SkipReason("; ".join(done) if done else "Every request is in order.")

    return reconcile_requests
