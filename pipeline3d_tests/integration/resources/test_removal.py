"""Removing deleted requests on real servers: all of them goes, nothing else, and it may be killed."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import dagster as dg
import pytest
from dagster import build_sensor_context
from sqlalchemy import text

from pipeline3d.database.tables import idempotency_keys, launched_runs
from pipeline3d.database.webhook_tables import webhook_deliveries
from pipeline3d.defs.sensors import removal as sensor_module
from pipeline3d.errors import StoreUnavailable
from pipeline3d.requests import deleting
from pipeline3d.requests.creation import NewJob, create_job, new_job_id
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.removal import Removals
from pipeline3d.store.keys import temporary_key
from pipeline3d.store.s3 import S3Store
from pipeline3d.values import Family, Kind
from pipeline3d_tests.servers import wait_until
from resources.jobs_database import JobsDatabase
from resources.object_store import ObjectStore
from resources.removal import Removal, Remover
from resources.run_history import RunHistory

TABLES = ("jobs", "job_events", "artifacts", "launched_runs", "uploads", "share_links", "idempotency_keys")


class Killed(BaseException):
    """Stands for kill -9: nothing in the code handles it."""


@pytest.fixture
def remover(past):
    return Remover(Removals(past.engine), lambda: past.store, RunHistory(past.instance))


def ask(past, job_id: UUID, user_id: UUID | None = None) -> bool:
    """What the API does for DELETE."""
    return bool(past.rows.run(deleting.request_deletion(job_id, user_id or past.rows.user_id)))


def remove(remover) -> tuple[list[UUID], int]:
    return remover.remove_all(float("inf"))


def request_with_everything(past, name: str, *, upload=None, executed: bool = True) -> UUID:
    """A request that has ended and left something everywhere."""
    upload = upload or past.upload(days=0)
    job_id = past.finished(1, runs=0, family="things", upload=upload, tags=(name,))
    run_id = (past.executed_run if executed else past.run)(job_id).run_id
    for file in ("model.glb", "thumbnail.png"):
        past.result(job_id, file)
    past.result(job_id, "never-recorded.glb", named=False)
    past.output_of(run_id)
    past.put(temporary_key(UUID(run_id)))
    user = {"user_id": past.rows.user_id}
    past.sql(
        "INSERT INTO uploads (id, user_id, storage_path, filename, content_type, expires_at)"
        " VALUES (:id, :user_id, :key, 'photo.png', 'image/png', now()) ON CONFLICT DO NOTHING",
        id=uuid4(),
        key=upload.key,
        **user,
    )
    past.sql(
        "INSERT INTO share_links (id, user_id, job_id, token_hash, prefix, scope)"
        " VALUES (:id, :user_id, :job, :hash, 'x', 'x')",
        id=uuid4(),
        hash=uuid4().hex * 2,
        job=job_id,
        **user,
    )
    past.rows.run(
        idempotency_keys.insert().values(
            key=name, request_hash="x", job_id=job_id, expires_at=datetime.now(UTC), **user
        )
    )
    for event in ("job.succeeded", "job.deleted"):
        past.rows.run(
            webhook_deliveries.insert().values(
                url="https://example.com", job_id=job_id, message_id=event, event=event, payload={}, **user
            )
        )
    return job_id


def deliveries(past) -> list[tuple[UUID, str]]:
    return [(row.job_id, row.event) for row in past.rows.run(webhook_deliveries.select())]


def everything(past) -> dict:
    dagster = ("event_logs", "run_tags", "runs")
    return {
        "keys": past.keys(),
        "objects": past.objects(),
        **{table: past.count(table) for table in TABLES},
        **{table: past.dagster_count(table) for table in dagster},
    }


def test_nothing_of_a_deleted_request_stays_and_nothing_else_goes(past, remover):
    kept = request_with_everything(past, "kept")
    before = everything(past)
    shared = past.upload(days=0)
    other = request_with_everything(past, "other", upload=shared)
    doomed = request_with_everything(past, "doomed")
    also_doomed = request_with_everything(past, "also doomed", upload=shared)
    assert remove(remover) == ([], 0)
    assert ask(past, doomed)
    assert ask(past, also_doomed)
    assert not ask(past, doomed)  # asked for already
    assert remove(remover) == ([doomed, also_doomed], 0)
    assert shared.key in past.objects()  # another request names it
    assert ask(past, other)
    assert remove(remover) == ([other], 0)
    assert everything(past) == before
    assert past.rows.row(kept).id == kept
    # the news of the end is still to be delivered
    assert sorted(deliveries(past)) == sorted(
        [(kept, "job.succeeded"), *((job_id, "job.deleted") for job_id in (kept, other, doomed, also_doomed))]
    )


@pytest.mark.parametrize("ends", ["deleted", "expired"])
def test_an_upload_that_a_new_request_names_in_this_moment_stays(past, remover, ends):
    upload = past.upload(days=0)
    doomed = request_with_everything(past, "doomed", upload=upload, executed=False)
    if ends == "deleted":
        ask(past, doomed)
        clear = threading.Thread(target=remove, args=(remover,))
    else:
        past.sql("UPDATE jobs SET expires_at = now() - interval '1 hour' WHERE id = :id", id=doomed)
        clear = threading.Thread(target=past.prune)
    job = NewJob(
        id=new_job_id(),
        user_id=past.rows.user_id,
        model_id="inflate-v1",
        kind=Kind.IMAGE_TO_3D,
        family=Family.MODEL_REQUESTS,
        prompt=None,
        input_params={},
        params={},
        upload=replace(upload, is_recorded=True),
    )
    waits = text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
    with past.engine.begin() as connection:
        connection.execute(create_job(job))
        clear.start()
        wait_until(lambda: connection.execute(waits).first(), what="it waits for the new request")
    clear.join()
    assert upload.key in past.objects()
    assert past.count("uploads") == 1
    assert f"jobs/{doomed}/glb_export/model.glb" not in past.objects()  # all else has gone


STEPS = [
    (Removals, "forget_uploads"),
    (S3Store, "remove_many"),
    (RunHistory, "forget_runs"),
    (RunHistory, "forget_key"),
    (Removals, "forget"),
]


def test_a_removal_that_is_killed_is_begun_anew_and_finished(past, remover, monkeypatch):
    before = everything(past)
    for room, step in STEPS:
        # after a step is before the next one
        for does_it in (False, True) if step == "forget" else (False,):
            job_id = request_with_everything(past, "doomed", executed=False)
            ask(past, job_id)
            done = getattr(room, step)

            def die(*arguments, done=done, does_it=does_it):
                if does_it:
                    done(*arguments)
                raise Killed

            with monkeypatch.context() as patch:
                patch.setattr(room, step, die)
                with pytest.raises(Killed):
                    remove(remover)
            assert past.count("jobs") == (0 if (step, does_it) == ("forget", True) else 1)
            remove(remover)
            assert everything(past) == before, (step, does_it)


def test_a_store_that_fails_keeps_nothing_else_from_being_removed(past, remover, monkeypatch):
    first, second = (past.finished(1, family="things") for _ in range(2))
    key = past.result(first)
    ask(past, first)
    ask(past, second)
    remove_many = S3Store.remove_many

    def fail(store, keys):
        if key in keys:
            raise StoreUnavailable("It does not answer.")
        remove_many(store, keys)

    with monkeypatch.context() as patch:
        patch.setattr(S3Store, "remove_many", fail)
        assert remove(remover) == ([second], 1)
    assert remove(remover) == ([first], 0)


def test_a_request_that_runs_is_removed_once_its_run_has_ended(past, remover):
    ledger = JobLedger(past.engine)
    job_id = past.queued(family="things")
    run = past.unfinished_run(job_id)
    ledger.begin(job_id, attempt=1, run_id=run.run_id, delivers=True)
    assert ask(past, job_id)
    assert past.rows.row(job_id).state == "CANCELING"
    assert remove(remover) == ([], 1)
    ledger.mark_canceled(job_id, run.run_id)
    assert remove(remover) == ([], 1)  # its process is about to write its last events
    past.instance.report_run_canceled(past.instance.get_run_by_id(run.run_id))
    assert remove(remover) == ([job_id], 0)
    assert past.run_ids() == set()


def test_a_run_that_waits_in_a_queue_is_called_off_first(past, remover):
    job_id = past.queued(family="things")
    past.unfinished_run(job_id, dg.DagsterRunStatus.NOT_STARTED)
    ask(past, job_id)
    assert remove(remover) == ([], 1)
    assert remove(remover) == ([job_id], 0)
    assert past.run_ids() == set()


def test_a_run_that_is_on_its_way_is_waited_for(past, remover):
    """Claimed, then deleted: the tick that claimed it makes the partition and the run a moment later."""
    job_id = past.queued()
    [claim] = JobLedger(past.engine).claim_queued(1, 60)
    ask(past, job_id)
    assert remove(remover) == ([], 1)
    run = past.unfinished_run(job_id, dg.DagsterRunStatus.NOT_STARTED)
    past.instance.add_run_tags(run.run_id, {"dagster/run_key": claim.run_key})
    assert remove(remover) == ([], 1)
    assert remove(remover) == ([job_id], 0)
    assert past.run_ids() == set()


def test_a_launch_that_never_came_is_not_waited_for_when_its_lease_is_over(past, remover):
    job_id = past.queued()
    JobLedger(past.engine).claim_queued(1, 60)
    ask(past, job_id)
    assert remove(remover) == ([], 1)
    past.sql("UPDATE jobs SET lease_until = now() WHERE id = :id", id=job_id)
    assert remove(remover) == ([job_id], 0)


@pytest.mark.parametrize(("age", "removed"), [(0, False), (3600, True)])
def test_a_launched_run_is_waited_for_but_not_for_ever(past, remover, age, removed):
    job_id = past.finished(1, family="things", runs=0)
    run = past.unfinished_run(job_id)
    past.rows.run(
        launched_runs.insert().values(run_id=run.run_id, job_name="j", queue="cpu", job_id=job_id, attempt=1)
    )
    ask(past, job_id)
    past.sql("UPDATE jobs SET deleted_at = now() - :age", age=timedelta(seconds=age))
    remove(remover)
    assert remove(remover) == (([job_id], 0) if removed else ([], 1))


def test_files_that_another_request_needs_stay_until_it_has_ended(past, remover):
    ledger = JobLedger(past.engine)
    source = past.finished(1, family="things")
    ask(past, source)
    # stored in the same moment as the deletion
    taker = past.queued(family="things", input_job_id=source)
    assert remove(remover) == ([], 1)
    ledger.request_cancel(taker)
    assert remove(remover) == ([source], 0)


def test_a_page_that_cannot_be_removed_hides_none_behind_it(past, remover, monkeypatch):
    monkeypatch.setattr("pipeline3d.requests.removal.PAGE_REQUESTS", 1)
    leased = past.queued()
    JobLedger(past.engine).claim_queued(1, 60)
    free = past.queued()
    ask(past, leased)
    ask(past, free)
    assert remove(remover) == ([free], 1)


def test_what_is_deleted_while_a_tick_waits_is_removed_at_once(past, remover):
    job_id = past.finished(1, family="things")
    removed: list[UUID] = []
    # much longer than it takes: it is not the end of the wait that brings it about
    tick = threading.Thread(target=lambda: removed.extend(remover.work_for(4.0)))
    tick.start()
    wait_until(lambda: listeners(past) > 0, what="the tick listens", interval_s=0.01)
    ask(past, job_id)
    wait_until(lambda: past.count("jobs") == 0, what="it is removed", interval_s=0.01)
    tick.join()
    assert removed == [job_id]


def listeners(past) -> int:
    """Connections that have looked for deleted requests and wait for the next one."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"
        " AND query ILIKE 'SELECT jobs.id%deleted_at%'"
    )
    [row] = past.rows.run(text(query))
    return row[0]


def test_the_sensor_removes_and_says_how_many(past, own_database_url, object_store_server, monkeypatch):
    monkeypatch.setattr(sensor_module, "LONGEST_WAIT_S", 0.0)
    job_id = past.finished(1, family="things")
    key = past.result(job_id)
    ask(past, job_id)
    server = object_store_server
    removal = Removal(
        jobs_database=JobsDatabase(url=own_database_url),
        object_store=ObjectStore(
            endpoint=server.endpoint,
            access_key=server.access_key,
            secret_key=server.secret_key,
            bucket=past.store.bucket,
        ),
    )

    def tick() -> str:
        with build_sensor_context(instance=past.instance, resources={"removal": removal}) as context:
            return sensor_module.build_removal_sensor()(context).skip_message

    assert tick() == "1 removed."
    assert key not in past.objects()
    assert tick() == "No request is to be removed."
