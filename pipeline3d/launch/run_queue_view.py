"""Why Dagster holds back the runs in its queue: the limit of all runs, or a pool that is full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES

RUN_KEY_TAG = "dagster/run_key"
MOST_LOOKED_AT = 500


def explain_queued_runs(instance: DagsterInstance) -> dict[str, str]:
    """The reason for each queued run that has one, by its run key (`id:attempt`)."""
    queued = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.QUEUED]), limit=MOST_LOOKED_AT)
    if not queued:
        return {}
    active = instance.get_runs(RunsFilter(statuses=list(ACTIVE_RUN_STATUSES)))
    limits = instance.get_concurrency_config().run_queue_config
    most = limits.max_concurrent_runs if limits else -1
    if 0 <= most <= len(active):
        everything = f"Dagster's limit of {most} runs is reached"
        return {run.tags[RUN_KEY_TAG]: everything for run in queued if RUN_KEY_TAG in run.tags}
    storage = instance.event_log_storage
    # Only a pool that somebody gave a limit has slots; of others Dagster says 0 and means any number.
    limited = storage.get_concurrency_keys() & {pool for run in queued for pool in pools_of(run)}
    infos = storage.get_concurrency_infos(sorted(limited)) if limited else {}
    slots = {pool: info.slot_count for pool, info in infos.items()}
    taken = Counter(pool for run in active for pool in pools_of(run))
    reasons = {}
    for run in queued:
        reason = explain_pools(pools_of(run), slots, taken)
        if reason and RUN_KEY_TAG in run.tags:
            reasons[run.tags[RUN_KEY_TAG]] = reason
    return reasons


def pools_of(run: DagsterRun) -> frozenset[str]:
    """The pools that a run needs a slot of."""
    needed = run.run_op_concurrency
    return frozenset(needed.all_pools or ()) if needed else frozenset()


def explain_pools(needed: Iterable[str], slots: Mapping[str, int], taken: Mapping[str, int]) -> str | None:
    """Which pool is full; None where each has a slot. A pool without a limit is not in `slots`."""
    for pool in sorted(needed):
        if pool in slots and taken.get(pool, 0) >= slots[pool]:
            return f"pool {pool} is full: {taken.get(pool, 0)} of {slots[pool]}"
    return None
