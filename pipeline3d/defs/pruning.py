"""The nightly prune: what nobody looks at any more goes, so that a full installation is as fast as a new one.

It waits behind every request and is never at work twice at a time. How long things are kept travels in the
run's configuration: the worker that runs it may be on a host that has no settings.
"""

# no `from __future__ import annotations`: Dagster reads the type of an op's config from the function itself

from dataclasses import asdict

import dagster as dg

from pipeline3d.defs.partitions import PARTITIONS_BY_FAMILY
from pipeline3d.requests.pruning import Retention
from resources.housekeeping import Housekeeping

PARTITION_SETS = tuple(family.value for family in PARTITIONS_BY_FAMILY)
PRIORITY = "-1000"
"""Below backfills and runs by hand, which are below every request."""
_DEFAULT = Retention()


class PruneConfig(dg.Config):
    """How long things are kept, in days, and at most how many live partitions a set may have."""

    dry_run: bool = False
    partition_days: int = _DEFAULT.partition_days
    live_partitions: int = _DEFAULT.live_partitions
    failed_run_days: int = _DEFAULT.failed_run_days
    run_log_days: int = _DEFAULT.run_log_days
    history_days: int = _DEFAULT.history_days
    unused_upload_days: int = _DEFAULT.unused_upload_days
    audit_days: int = _DEFAULT.audit_days
    webhook_days: int = _DEFAULT.webhook_days

    @property
    def retention(self) -> Retention:
        """The same as a value."""
        return Retention(**self.model_dump(exclude={"dry_run"}))


@dg.op(out=dg.Out(dg.Nothing), description="Removes old partitions, runs, events, histories and files.")
def remove_what_is_old(
    context: dg.OpExecutionContext, config: PruneConfig, housekeeping: Housekeeping
) -> None:
    """Prune step by step; each line of the log is a step."""
    steps = housekeeping.prune(
        context.instance, config.retention, partition_sets=PARTITION_SETS, dry_run=config.dry_run
    )
    took_place = False
    for removed in steps:
        took_place = True
        context.log.info(str(removed))
    if not took_place:
        context.log.info("Another prune is at work.")


def build_prune_job(keep: Retention) -> dg.JobDefinition:
    """The job of the nightly schedule; by hand it starts with the same configuration."""

    @dg.job(
        executor_def=dg.in_process_executor,
        config=build_run_config(keep),
        tags={"dagster/priority": PRIORITY, "dagster-celery/queue": "cpu"},
        description="Removes what nobody looks at any more. Killed at any moment, it has lost nothing.",
    )
    def prune() -> None:
        remove_what_is_old()

    return prune


def build_prune_schedule(job: dg.JobDefinition, keep: Retention, cron: str) -> dg.ScheduleDefinition:
    """Prune at these times, in UTC."""
    return dg.ScheduleDefinition(
        name="nightly_prune",
        job=job,
        cron_schedule=cron,
        run_config=build_run_config(keep),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Starts the prune.",
    )


def build_run_config(keep: Retention, *, dry_run: bool = False) -> dg.RunConfig:
    """What a prune needs to know."""
    return dg.RunConfig(ops={"remove_what_is_old": PruneConfig(dry_run=dry_run, **asdict(keep))})
