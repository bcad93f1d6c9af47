"""Queued requests become runs: claim, plan, return. The plan is pure and its keys are deterministic.

A claim is a lease, not a promise: whatever happens between here and the run's first step, the lease
runs out and the request is claimed again under the same run key, which Dagster starts only once.

There are several equal sensors: each waits inside its tick for a request (LISTEN, no polling), and while one
hands its claims to Dagster another one is waiting already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import dagster as dg

from pipeline3d.defs.jobs import PRIORITY_TAG, REQUEST_JOBS, run_priority
from pipeline3d.defs.partitions import PARTITIONS_BY_FAMILY
from pipeline3d.defs.sensors.outage import skips_while_postgres_is_away
from pipeline3d.requests.admission import Admission
from pipeline3d.values import BUILT_KINDS, STAGES_BY_ROUTE, Claim, Family, route_of, stages_of
from resources.jobs_database import JobsDatabase
from resources.request_run import ATTEMPT_TAG, PARTITION_TAG

SENSORS = 2
BATCH = 50
"""Requests in one tick: the whole list is serialised into the tick's row."""
LONGEST_WAIT_S = 20.0
"""How long a tick waits for a request: Dagster gives a sensor 60 s, and each tick is a row."""
QUEUE_TAG = "dagster-celery/queue"
EARLIER_RUNS = 10


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster writes each event of a run to its output, with two tracebacks for every refused picture. The event
log has all of it; the output is left to the one line of `record_failure`."""


def plan_run(claim: Claim, *, verbose: bool = False, finished: frozenset[str] = frozenset()) -> dg.RunRequest:
    """The one run of a claim's attempt; stages that earlier attempts finished are not done again."""
    stages = plan_stages(claim, finished)
    route = route_of(claim.kind, claim.model_id)
    return dg.RunRequest(
        run_key=claim.run_key,
        job_name=route.value,
        partition_key=str(claim.job_id),
        run_config=None if verbose else QUIET,
        # None is the whole job: it spares Dagster a question to the code server
        asset_selection=None
        if stages == STAGES_BY_ROUTE[route]
        else [dg.AssetKey(stage) for stage in stages],
        tags={
            ATTEMPT_TAG: str(claim.attempt),
            "pipeline3d/model": claim.model_id,
            "pipeline3d/user": str(claim.user_id),
            QUEUE_TAG: claim.queue,
            PRIORITY_TAG: str(run_priority(claim.priority, claim.turn)),
        },
    )


def plan_stages(claim: Claim, finished: frozenset[str]) -> tuple[str, ...]:
    """The stages from the first one that is not finished; the last one, which delivers, always."""
    stages = stages_of(claim.kind, claim.model_id, claim.params)
    for index, stage in enumerate(stages[:-1]):
        if stage not in finished:
            return stages[index:]
    return stages[-1:]


def find_finished_stages(instance: dg.DagsterInstance, claim: Claim) -> frozenset[str]:
    """The stages whose steps succeeded, with their checks, in earlier runs of a request."""
    if claim.attempt == 1:
        return frozenset()
    earlier = instance.get_runs(
        dg.RunsFilter(
            job_name=route_of(claim.kind, claim.model_id).value, tags={PARTITION_TAG: str(claim.job_id)}
        ),
        limit=EARLIER_RUNS,
    )
    return frozenset(
        step.step_key
        for run in earlier
        for step in instance.get_run_step_stats(run.run_id)
        if step.status is not None and step.status.value == "SUCCESS"
    )


def plan_partitions(claims: Iterable[Claim]) -> list[dg.AddDynamicPartitionsRequest]:
    """The partitions that the runs of these claims need."""
    keys_by_family: dict[Family, list[str]] = defaultdict(list)
    for claim in claims:
        keys_by_family[claim.family].append(str(claim.job_id))
    return [PARTITIONS_BY_FAMILY[family].build_add_request(keys) for family, keys in keys_by_family.items()]


def build_dispatch_sensors(
    lease_s: float, admission: Admission | None = None, *, verbose: bool = False
) -> list[dg.SensorDefinition]:
    """The sensors that claim queued requests; a claim is leased for `lease_s` seconds."""
    return [_build_sensor(index, lease_s, admission, verbose=verbose) for index in range(SENSORS)]


def _build_sensor(
    index: int, lease_s: float, admission: Admission | None, *, verbose: bool
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"dispatch_requests_{index}",
        jobs=REQUEST_JOBS,
        minimum_interval_seconds=1,  # the smallest: 0 counts as the default, 30
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Claims queued requests and starts one run for each attempt.",
    )
    @skips_while_postgres_is_away
    def dispatch_requests(
        context: dg.SensorEvaluationContext, jobs_database: JobsDatabase
    ) -> dg.SensorResult | dg.SkipReason:
        ledger = jobs_database.connect()
        claims = ledger.claim_when_ready(
            LONGEST_WAIT_S, BATCH, lease_s, kinds=sorted(BUILT_KINDS), admission=admission
        )
        if not claims:
            return dg.SkipReason("No request may start.")
        return dg.SensorResult(
            run_requests=[
                plan_run(claim, verbose=verbose, finished=find_finished_stages(context.instance, claim))
                for claim in claims
            ],
            dynamic_partitions_requests=plan_partitions(claims),
        )

    return dispatch_requests
