"""Dagster's entry point: assets, jobs, sensors and the resources of this installation.

Importing it does no work: no network, no disk, no model.
"""

from __future__ import annotations

import dagster as dg

from pipeline3d.defs.assets.models import MODEL_ASSETS
from pipeline3d.defs.assets.probe import PROBE_ASSETS
from pipeline3d.defs.jobs import REQUEST_JOBS
from pipeline3d.defs.pruning import build_prune_job, build_prune_schedule
from pipeline3d.defs.sensors.dispatch import build_dispatch_sensors
from pipeline3d.defs.sensors.reconcile import build_reconcile_sensor
from pipeline3d.defs.sensors.removal import build_removal_sensor
from pipeline3d.limits import admission_of
from pipeline3d.log_masking import mask_logs
from pipeline3d.model_settings import build_model_tools
from pipeline3d.pruning_command import retention_of
from pipeline3d.settings import Settings, load_settings
from resources.artifact_io_manager import ArtifactIOManager
from resources.drawing import Drawing
from resources.housekeeping import Housekeeping
from resources.jobs_database import JobsDatabase
from resources.object_store import ObjectStore
from resources.photo_fetching import PhotoFetching
from resources.preview_links import PreviewLinks
from resources.removal import Removal
from resources.request_run import RequestRun
from resources.stage_files import StageFiles


def build_resources(settings: Settings) -> dict[str, object]:
    """The resources. Secrets stay names of environment variables, so that the UI cannot show them."""
    jobs_database = JobsDatabase(url=dg.EnvVar("DATABASE_URL"))
    object_store = ObjectStore(
        endpoint=dg.EnvVar("MINIO_ENDPOINT"),
        access_key=dg.EnvVar("MINIO_ACCESS_KEY"),
        secret_key=dg.EnvVar("MINIO_SECRET_KEY"),
        bucket=settings.minio_bucket,
        secure=settings.minio_secure,
        max_input_bytes=settings.max_upload_bytes,
        max_model_bytes=settings.max_model_bytes,
    )
    stage_files = StageFiles(object_store=object_store, jobs_database=jobs_database)
    return {
        "jobs_database": jobs_database,
        "object_store": object_store,
        "request_run": RequestRun(
            jobs_database=jobs_database,
            scratch_dir=str(settings.data_dir / "scratch"),
            interrupts=settings.pipeline3d_worker_id is not None,
        ),
        "drawing": Drawing(renderer=settings.pipeline3d_renderer),
        "preview_links": PreviewLinks(
            api_url=settings.api_url or "", signing_key=dg.EnvVar("LINK_SIGNING_KEY")
        ),
        "stage_files": stage_files,
        "photo_fetching": PhotoFetching(
            max_bytes=settings.max_upload_bytes, allowed_hosts=settings.pipeline3d_photo_hosts
        ),
        "model_tools": build_model_tools(settings, jobs_database),
        "artifacts": ArtifactIOManager(stage_files=stage_files),
        "housekeeping": Housekeeping(jobs_database=jobs_database, object_store=object_store),
        "removal": Removal(jobs_database=jobs_database, object_store=object_store),
    }


def build_definitions(settings: Settings) -> dg.Definitions:
    """Everything that Dagster runs and shows."""
    keep = retention_of(settings)
    prune = build_prune_job(keep)
    return dg.Definitions(
        assets=[*MODEL_ASSETS, *PROBE_ASSETS],
        jobs=[*REQUEST_JOBS, prune],
        schedules=[build_prune_schedule(prune, keep, settings.pipeline3d_prune_schedule)],
        sensors=[
            *build_dispatch_sensors(
                settings.lease_s, admission_of(settings), verbose=settings.log_level == "DEBUG"
            ),
            build_reconcile_sensor(settings.lease_s, settings.silent_after_s),
            build_removal_sensor(),
        ],
        resources=build_resources(settings),
        executor=dg.in_process_executor,
    )


mask_logs()
defs = build_definitions(load_settings())
