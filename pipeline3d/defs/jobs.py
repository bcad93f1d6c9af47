"""One asset job per route of a request.

A run that nobody dispatched (a backfill, a launch by hand) has Dagster's own priority of 0, below every
request's: making a thousand old models anew does not delay a new one. Requests are raised, instead of the
others lowered, because the runs of a backfill of assets have no tags but their backfill's.
"""

from __future__ import annotations

import dagster as dg

from pipeline3d.values import STAGES_BY_ROUTE, Route

PRIORITY_TAG = "dagster/priority"
LOWEST_OF_REQUESTS = 1_000_000
"""Whatever a request's own priority, its run goes before runs that nobody waits for."""
LOWEST_PRIORITY = -100
"""Of a request, as the table allows it."""
TURNS_PER_PRIORITY = 1000
"""Turns are counted below a priority: the next priority begins so far above."""


DESCRIPTIONS: dict[Route, str] = {
    Route.IMAGE_TO_3D: "A photo becomes a checked GLB with a preview. One partition is one request.",
    Route.IMAGE_TO_3D_BY_SCENE: "The same by a model that keeps a scene code: other meshes are made from it.",
    Route.TEXT_TO_3D: "A text becomes a checked GLB with a preview.",
    Route.PRODUCT_TO_3D: "A product's photos are fetched and judged; the best one becomes a GLB.",
    Route.PRODUCT_TO_3D_BY_SCENE: "The same by a model that keeps a scene code.",
    Route.SCENE_TO_3D: "Another mesh of the scene code that an earlier request made; needs no GPU.",
    Route.EXPORT_MODEL: "A model that exists already, repaired, measured and written in other formats.",
    Route.PROBE: "A request that makes nothing: shows that the way is open, and how long it is.",
}


def build_job(route: Route, description: str) -> dg.UnresolvedAssetJobDefinition:
    """The job that makes all assets of a route, one partition (a request) a run."""
    return dg.define_asset_job(
        route.value,
        selection=dg.AssetSelection.assets(*STAGES_BY_ROUTE[route]),
        executor_def=dg.in_process_executor,
        description=description,
    )


REQUEST_JOBS = [build_job(route, description) for route, description in DESCRIPTIONS.items()]


def run_priority(priority: int, turn: int) -> int:
    """Where a request's run stands in Dagster's queue: by its priority, then by whose turn it is."""
    steps = (priority - LOWEST_PRIORITY + 1) * TURNS_PER_PRIORITY
    return LOWEST_OF_REQUESTS + steps - min(turn, TURNS_PER_PRIORITY - 1)
