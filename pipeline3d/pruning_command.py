"""`pipeline3d prune`: what the nightly job does, now and in this process, or only a list of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from pipeline3d.requests.pruning import Retention
from pipeline3d.settings import Settings, load_settings


def retention_of(settings: Settings) -> Retention:
    """How long this installation keeps things."""
    return Retention(
        partition_days=settings.pipeline3d_keep_partitions_days,
        live_partitions=settings.pipeline3d_max_live_partitions,
        failed_run_days=settings.pipeline3d_keep_failed_runs_days,
        run_log_days=settings.pipeline3d_keep_run_logs_days,
        history_days=settings.pipeline3d_keep_history_days,
        unused_upload_days=settings.pipeline3d_keep_unused_uploads_days,
        audit_days=settings.pipeline3d_keep_audit_days,
        webhook_days=settings.pipeline3d_keep_webhooks_days,
    )


def prune(environment: Mapping[str, str], *, dry_run: bool) -> Iterator[str]:
    """Prune the installation of this environment; a line for each step as it is done.

    Raises, after the last step, what kept one from being done.
    """
    # dagster.yaml names environment variables, not values
    os.environ.update(environment)

    from dagster import DagsterInstance

    from pipeline3d.defs.pruning import PARTITION_SETS
    from resources.housekeeping import Housekeeping
    from resources.jobs_database import JobsDatabase
    from resources.object_store import ObjectStore

    settings = load_settings(environment)
    housekeeping = Housekeeping(
        jobs_database=JobsDatabase(url=environment["DATABASE_URL"]),
        object_store=ObjectStore(
            endpoint=environment["MINIO_ENDPOINT"],
            access_key=environment["MINIO_ACCESS_KEY"],
            secret_key=environment["MINIO_SECRET_KEY"],
            bucket=settings.minio_bucket,
            secure=settings.minio_secure,
        ),
    )
    with DagsterInstance.get() as instance:
        steps = housekeeping.prune(
            instance, retention_of(settings), partition_sets=PARTITION_SETS, dry_run=dry_run
        )
        took_place = False
        for removed in steps:
            took_place = True
            yield str(removed)
        if not took_place:
            yield "  nothing: another prune is at work"
