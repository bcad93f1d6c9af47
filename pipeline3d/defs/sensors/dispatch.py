"""Queued requests become runs: claim, plan, return. The plan is pure and its keys are deterministic.

A claim is a lease, not a promise: whatever happens between here and the run's first step, the lease
runs out and the request is claimed again under the same run key, which Dagster starts only once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import Enum

import dagster as dg

from pipeline3d.defs.jobs import JOB_NAME_BY_KIND
from pipeline3d.defs.partitions import PARTITIONS_BY_FAMILY
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.values import Claim, FailureReport, Family
from resources.jobs_database import JobsDatabase
from resources.request_run import ATTEMPT_TAG

BATCH = 50
"""Requests in one tick: the whole list is serialised into the tick's row."""
RETRY_DELAY_S = 2.0

RUN_KEY_TAG = "dagster/run_key"
RUN_NEVER_BEGAN = FailureReport(
    code="worker_lost", message="The run ended before its first step.", retryable=True
)


class Step(Enum):
    """What a claimed request needs next."""

    LAUNCH = "launch"
    WAIT = "wait"
    NEXT_ATTEMPT = "next attempt"
    CANCEL = "cancel"


def plan_step(run_status: dg.DagsterRunStatus | None) -> Step:
    """Decide by the run that already exists for the claim's run key."""
    if run_status is None:
        return Step.LAUNCH
    if run_status is dg.DagsterRunStatus.CANCELED:
        return Step.CANCEL
    if run_status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS):
        return Step.NEXT_ATTEMPT
    return Step.WAIT


def plan_run(claim: Claim) -> dg.RunRequest:
    """The one run of a claim's attempt."""
    return dg.RunRequest(
        run_key=claim.run_key,
        job_name=JOB_NAME_BY_KIND[claim.kind],
        partition_key=str(claim.job_id),
        tags={
            ATTEMPT_TAG: str(claim.attempt),
            "pipeline3d/model": claim.model_id,
            "pipeline3d/user": str(claim.user_id),
            "dagster/priority": str(claim.priority),
        },
    )


def plan_partitions(claims: Iterable[Claim]) -> list[dg.AddDynamicPartitionsRequest]:
    """The partitions that the runs of these claims need."""
    keys_by_family: dict[Family, list[str]] = defaultdict(list)
    for claim in claims:
        keys_by_family[claim.family].append(str(claim.job_id))
    return [PARTITIONS_BY_FAMILY[family].build_add_request(keys) for family, keys in keys_by_family.items()]


def settle_claim(step: Step, claim: Claim, ledger: JobLedger, lease_s: float) -> None:
    """Carry out every step but LAUNCH in the jobs table."""
    if step is Step.WAIT:
        ledger.renew_lease(claim.job_id, claim.attempt, lease_s)
    elif step is Step.NEXT_ATTEMPT:
        ledger.next_attempt(claim.job_id, claim.attempt, RUN_NEVER_BEGAN, RETRY_DELAY_S)
    elif step is Step.CANCEL:
        ledger.cancel_queued(claim.job_id, claim.attempt)


def build_dispatch_sensor(lease_s: float) -> dg.SensorDefinition:
    """The sensor that claims queued requests; a claim is leased for `lease_s` seconds."""

    @dg.sensor(
        name="dispatch_requests",
        job_names=list(JOB_NAME_BY_KIND.values()),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Claims queued requests and starts one run for each attempt.",
    )
    def dispatch_requests(
        context: dg.SensorEvaluationContext, jobs_database: JobsDatabase
    ) -> dg.SensorResult | dg.SkipReason:
        ledger = jobs_database.connect()
        to_launch: list[Claim] = []
        for claim in ledger.claim_queued(limit=BATCH, lease_s=lease_s, kinds=list(JOB_NAME_BY_KIND)):
            step = plan_step(status_of_run(context.instance, claim.run_key))
            if step is Step.LAUNCH:
                to_launch.append(claim)
            else:
                settle_claim(step, claim, ledger, lease_s)
        if not to_launch:
            return dg.SkipReason("No queued requests.")
        return dg.SensorResult(
            run_requests=[plan_run(claim) for claim in to_launch],
            dynamic_partitions_requests=plan_partitions(to_launch),
        )

    return dispatch_requests


def status_of_run(instance: dg.DagsterInstance, run_key: str) -> dg.DagsterRunStatus | None:
    """The status of the run that has this run key, if there is one."""
    runs = instance.get_runs(filters=dg.RunsFilter(tags={RUN_KEY_TAG: run_key}), limit=1)
    return runs[0].status if runs else None
