"""The nightly prune on real servers: it removes what it said, no more, and may be killed at any moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from pipeline3d.database.tables import artifacts
from pipeline3d.errors import StoreUnavailable
from pipeline3d.requests import changes, pruning
from pipeline3d.requests.housekeeping import Housekeeper
from pipeline3d.store.s3 import S3Store
from pipeline3d_tests.integration.resources.pruning_fixtures import fill, runs_of
from resources.run_history import RunHistory


def take(before, after):
    """What is in `before` and not in `after`."""
    return {name: value - after[name] for name, value in before.items()}


def test_a_dry_run_says_what_the_prune_then_takes_and_everything_else_stays(past):
    doomed = fill(past)
    before = past.everything()
    said = past.prune(dry_run=True)
    assert past.everything() == before
    assert past.prune() == said
    assert all(removed.count for removed in said), "every step had something to do"
    gone = take(before, past.everything())
    assert gone.pop("keys") == doomed.keys
    assert gone.pop("runs") == doomed.runs
    assert gone.pop("objects") == doomed.objects
    assert gone.pop("event_logs") > 0
    assert gone == {**dict.fromkeys(gone, 0), **doomed.rows}
    assert {removed.count for removed in past.prune(dry_run=True)} == {0}


def test_old_runs_keep_what_the_lineage_and_the_retries_go_by(past):
    job_id = past.finished(20, runs=0)  # inside the window of partitions, beyond that of log lines
    run_id = past.executed_run(job_id).run_id
    past.age_run(run_id, 20)
    before = {entry.dagster_event.event_type_value for entry in past.instance.all_logs(run_id)}
    steps = past.instance.get_run_step_stats(run_id)
    past.prune()
    after = {entry.dagster_event.event_type_value for entry in past.instance.all_logs(run_id)}
    assert before - after >= {"ENGINE_EVENT", "RESOURCE_INIT_STARTED", "RESOURCE_INIT_SUCCESS"}
    assert after >= {"ASSET_MATERIALIZATION", "STEP_SUCCESS", "PIPELINE_SUCCESS", "LOGS_CAPTURED"}
    assert past.instance.get_run_step_stats(run_id) == steps
    assert past.instance.get_latest_materialization_event(dg.AssetKey("third")) is not None


def test_the_newest_partitions_stay_where_there_are_too_many(past):
    ages = {past.finished(days): days for days in (5, 1, 3, 2)}
    waiting = {past.queued() for _ in range(2)}
    past.prune(live_partitions=4)
    newest = {job_id for job_id, days in ages.items() if days <= 2}
    assert past.keys() == {str(job_id) for job_id in newest | waiting}
    past.prune(live_partitions=1)
    assert past.keys() == {str(job_id) for job_id in waiting}


def test_a_backfill_that_has_not_ended_keeps_its_partitions(past):
    old, other = past.finished(40), past.finished(40)
    past.instance.add_backfill(
        PartitionBackfill(
            backfill_id="b",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=0.0,
            partition_names=[str(old)],
        )
    )
    past.prune()
    assert past.keys() == {str(old)}
    assert len(runs_of(past, old)) == 1
    assert runs_of(past, other) == []


def test_a_request_that_begins_again_in_the_middle_keeps_its_partition(past, monkeypatch):
    past.finished(40, failed=True)
    again = past.finished(40, failed=True)
    forget_runs = RunHistory.forget_runs

    def begin_again(history, run_ids):
        forget_runs(history, run_ids)
        past.rows.run(changes.begin_by_hand(again, "run-by-hand"))

    monkeypatch.setattr(RunHistory, "forget_runs", begin_again)
    past.prune()
    assert past.keys() == {str(again)}


class Killed(BaseException):
    """The process is gone."""


def test_a_prune_that_is_killed_again_and_again_loses_nothing_and_gets_there(past, monkeypatch):
    doomed = fill(past)
    before = past.everything()
    left = 0

    def dies_after(owner, name):
        action = getattr(owner, name)

        def dying(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return action(*arguments, **options)

        monkeypatch.setattr(owner, name, dying)

    for owner, name in (
        (S3Store, "remove_many"),
        (Housekeeper, "forget_files"),
        (Housekeeper, "forget_launched"),
        (RunHistory, "forget_runs"),
        (RunHistory, "forget_key"),
        (dg.DagsterInstance, "delete_run"),
        (pruning.Sweep, "remove"),
    ):
        dies_after(owner, name)
    deaths = 0
    while True:
        left = deaths
        try:
            past.prune()
            break
        except Killed:
            deaths += 1
        named = {row.storage_path for row in past.rows.run(select(artifacts.c.storage_path))}
        assert not named & (before["objects"] - past.objects()), "a row names an object that is gone"
    assert deaths > 5
    gone = take(before, past.everything())
    assert (gone["keys"], gone["runs"], gone["objects"]) == (doomed.keys, doomed.runs, doomed.objects)
    assert {name: gone[name] for name in doomed.rows} == doomed.rows


def test_only_one_prune_is_at_work_at_a_time(past):
    with Housekeeper(past.engine).alone() as first, Housekeeper(past.engine).alone() as second:
        assert (first, second) == (True, False)
    with Housekeeper(past.engine).alone() as afterwards:
        assert afterwards


def test_a_finished_request_cannot_begin_again_while_its_partition_is_taken_out(past):
    job_id = past.finished(days_ago=90, failed=True)
    again = past.engine.execution_options(isolation_level="AUTOCOMMIT")
    with Housekeeper(past.engine).holding_finished([str(job_id)]) as held:
        assert held == [str(job_id)]
        with again.connect() as connection:
            connection.execute(text("SET lock_timeout = '50ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                connection.execute(changes.retry_by_hand(job_id))
    with again.connect() as connection:
        assert connection.execute(changes.retry_by_hand(job_id)).first() is not None


def test_two_prunes_that_meet_all_the_same_do_no_harm(past):
    doomed = fill(past)
    before = past.everything()
    plans, meeting = [past.plan(), past.plan()], Barrier(2)

    def prune(plan):
        meeting.wait()
        return list(plan.run())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(prune, plans))
    gone = take(before, past.everything())
    assert (gone["keys"], gone["runs"], gone["objects"]) == (doomed.keys, doomed.runs, doomed.objects)
    assert {name: gone[name] for name in doomed.rows} == doomed.rows


def test_without_the_object_store_the_rest_is_pruned_and_the_error_is_told(past):
    doomed = fill(past)
    before = past.everything()
    nowhere = S3Store("127.0.0.1:1", "key", "secret", "bucket")
    with pytest.raises(StoreUnavailable):
        list(past.plan(store=nowhere).run())
    gone = take(before, past.everything())
    assert gone["keys"] == doomed.keys
    assert gone["objects"] == set()
    assert gone["artifacts"] == 0, "rows stay until their objects can go"
    # the output of a run that is gone by now waits for its first day like that of a run about to be recorded
    past.store.ages |= dict.fromkeys(doomed.objects, timedelta(days=60))
    past.prune()
    assert take(before, past.everything())["objects"] == doomed.objects
