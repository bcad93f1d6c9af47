"""Queued requests become runs: claim, plan, return. The plan is pure and its keys are deterministic.

A claim is a lease, not a promise: whatever happens between here and the run's first step, the lease
runs out and the request is claimed again under the same run key, which Dagster starts only once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import dagster as dg

from pipeline3d.defs.jobs import JOB_NAME_BY_KIND, image_to_3d
from pipeline3d.defs.partitions import PARTITIONS_BY_FAMILY
from pipeline3d.values import Claim, Family
from resources.jobs_database import JobsDatabase
from resources.request_run import ATTEMPT_TAG

BATCH = 50
"""Requests in one tick: the whole list is serialised into the tick's row."""
LONGEST_WAIT_S = 4.5
"""The daemon asks every five seconds; waiting inside the tick starts a request the moment it arrives."""


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster writes each event of a run to its output, with two tracebacks for every refused picture. The event
log has all of it; the output is left to the one line of `record_failure`."""


def plan_run(claim: Claim, *, verbose: bool = False) -> dg.RunRequest:
    """The one run of a claim's attempt."""
    return dg.RunRequest(
        run_key=claim.run_key,
        job_name=JOB_NAME_BY_KIND[claim.kind],
        partition_key=str(claim.job_id),
        run_config=None if verbose else QUIET,
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


def build_dispatch_sensor(lease_s: float, *, verbose: bool = False) -> dg.SensorDefinition:
    """The sensor that claims queued requests; a claim is leased for `lease_s` seconds."""

    @dg.sensor(
        name="dispatch_requests",
        jobs=[image_to_3d],
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Claims queued requests and starts one run for each attempt.",
    )
    def dispatch_requests(
        context: dg.SensorEvaluationContext, jobs_database: JobsDatabase
    ) -> dg.SensorResult | dg.SkipReason:
        ledger = jobs_database.connect()
        ledger.wait_for_queued(LONGEST_WAIT_S)
        claims = ledger.claim_queued(limit=BATCH, lease_s=lease_s)
        if not claims:
            return dg.SkipReason("No queued requests.")
        return dg.SensorResult(
            run_requests=[plan_run(claim, verbose=verbose) for claim in claims],
            dynamic_partitions_requests=plan_partitions(claims),
        )

    return dispatch_requests
