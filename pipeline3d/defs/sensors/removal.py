"""Deleted requests are removed within seconds: the sensor waits inside its tick for the next one (LISTEN)."""

from __future__ import annotations

import dagster as dg

from pipeline3d.defs.sensors.outage import skips_while_postgres_is_away
from resources.removal import Removal

LONGEST_WAIT_S = 20.0
"""How long a tick waits and works: Dagster gives a sensor 60 s, and each tick is a row."""


def build_removal_sensor() -> dg.SensorDefinition:
    """The sensor that removes what deleted requests left."""

    @dg.sensor(
        name="remove_deleted_requests",
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Removes the files, runs, partitions and rows of deleted requests.",
    )
    @skips_while_postgres_is_away
    def remove_deleted_requests(context: dg.SensorEvaluationContext, removal: Removal) -> dg.SkipReason:
        removed = removal.connect(context.instance).work_for(LONGEST_WAIT_S)
        for job_id in removed:
            context.log.info(f"request {job_id}: removed")
        return dg.SkipReason(f"{len(removed)} removed." if removed else "No request is to be removed.")

    return remove_deleted_requests
