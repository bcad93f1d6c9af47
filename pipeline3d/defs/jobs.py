"""One asset job per kind of request.

A run that nobody dispatched (a backfill, a launch by hand) has Dagster's own priority of 0, below every
request's: making a thousand old models anew does not delay a new one. Requests are raised, instead of the
others lowered, because the runs of a backfill of assets have no tags but their backfill's.
"""

from __future__ import annotations

import dagster as dg

from pipeline3d.values import Kind

PRIORITY_TAG = "dagster/priority"
LOWEST_OF_REQUESTS = 1_000_000
"""Whatever a request's own priority, its run goes before runs that nobody waits for."""
LOWEST_PRIORITY = -100
"""Of a request, as the table allows it."""
TURNS_PER_PRIORITY = 1000
"""Turns are counted below a priority: the next priority begins so far above."""


def build_job(kind: Kind, description: str) -> dg.UnresolvedAssetJobDefinition:
    """The job that makes all assets of a kind, one partition (a request) a run."""
    return dg.define_asset_job(
        kind.value,
        selection=dg.AssetSelection.groups(kind.value),
        executor_def=dg.in_process_executor,
        description=description,
    )


image_to_3d = build_job(
    Kind.IMAGE_TO_3D,
    "A photo becomes a textured, checked GLB with a preview. One partition is one request.",
)
probe = build_job(Kind.PROBE, "A request that makes nothing: shows that the way is open, and how long it is.")

REQUEST_JOBS = [image_to_3d, probe]
JOB_NAME_BY_KIND: dict[Kind, str] = {Kind(job.name): job.name for job in REQUEST_JOBS}
"""The kinds that this version can run."""


def run_priority(priority: int, turn: int) -> int:
    """Where a request's run stands in Dagster's queue: by its priority, then by whose turn it is."""
    steps = (priority - LOWEST_PRIORITY + 1) * TURNS_PER_PRIORITY
    return LOWEST_OF_REQUESTS + steps - min(turn, TURNS_PER_PRIORITY - 1)
