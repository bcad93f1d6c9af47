"""Messages as Postgres queues them: with the change, of every change, and under the right names."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import select, text

from pipeline3d.database.tables import jobs
from pipeline3d.database.webhook_tables import webhook_attempts, webhook_deliveries
from pipeline3d.doctor import Level, check_webhooks
from pipeline3d.requests import changes, creation, webhooks
from pipeline3d.requests.event_types import TYPE_BY_EVENT, JobEventType, event_type_of
from pipeline3d.requests.housekeeping import Housekeeper
from pipeline3d.requests.webhook_deliveries import deliveries_of_deleted_jobs, old_deliveries
from pipeline3d.requests.webhook_events import DEFAULT_EVENTS, WEBHOOKS_CHANNEL
from pipeline3d.settings import Settings
from pipeline3d.values import Family, JobState, Kind
from pipeline3d_tests.servers import wait_until

ADDRESS = "https://shop.example.com/hooks"
WAITING = (
    "SELECT count(*) > 0 FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
LINE = "INSERT INTO job_events (job_id, event_type, payload) VALUES (:job, 'INFO', CAST(:p AS jsonb))"


@pytest.fixture
def heard_by_couriers(database_url):
    """How often a courier was woken since it was last asked."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"LISTEN {WEBHOOKS_CHANNEL}")

        def read() -> int:
            connection.execute("SELECT 1")  # what was committed before this answer came before it
            return len(list(connection.notifies(timeout=0)))

        yield read


def subscribe(rows, **options):
    [row] = rows.run(webhooks.create_endpoint(rows.user_id, ADDRESS, at_most=9, **options))
    return row


def read_deliveries(rows):
    return rows.run(select(webhook_deliveries).order_by(webhook_deliveries.c.id))


def test_the_trigger_names_lines_of_history_as_everybody_else_does(rows):
    events = [*{event for event, _ in TYPE_BY_EVENT}, "changed", "something_new", "", None, 5, ["created"]]
    states = [*JobState, None, "SOMETHING"]
    payloads = [{"event": event, "state": state} for event, state in itertools.product(events, states)]
    payloads += [{"state": "SUCCEEDED"}, {"event": "succeeded"}, {}]
    asked = text("SELECT job_event_name(value) AS name FROM jsonb_array_elements(CAST(:all AS jsonb))")
    names = [row.name for row in rows.run(asked, all=json.dumps(payloads))]
    assert names == [event_type_of(payload) for payload in payloads]


def test_the_trigger_tells_of_the_end_where_no_event_is_named(rows):
    subscribe(rows)
    job_id = rows.make()
    for state, event in (
        *((None, event) for event in ("created", "started", "progress", "artifact", "held", "deleted")),
        *(("FAILED", "attempt_failed"), ("QUEUED", "attempt_failed"), ("CANCELED", "canceled")),
        *((None, "succeeded"), (None, "expired")),
    ):
        rows.run(
            text(LINE),
            job=job_id,
            p=json.dumps({"event": event, "state": state}),
        )
    assert {delivery.event for delivery in read_deliveries(rows)} == set(DEFAULT_EVENTS)
    assert len(DEFAULT_EVENTS) == 4


@pytest.mark.parametrize("subscribed", [True, False])
def test_the_courier_is_woken_when_there_is_something_to_deliver(rows, heard_by_couriers, subscribed):
    if subscribed:
        subscribe(rows)
    job_id = rows.make()
    assert heard_by_couriers() == 0  # a creation is no end
    rows.run(changes.request_cancel(job_id))
    assert heard_by_couriers() == int(subscribed)


def test_what_is_taken_back_is_not_told(rows, engine, heard_by_couriers):
    subscribe(rows, events=["job.created"])
    job = creation.NewJob(
        id=creation.new_job_id(),
        user_id=rows.user_id,
        model_id="inflate-v1",
        kind=Kind.IMAGE_TO_3D,
        family=Family.MODEL_REQUESTS,
        prompt=None,
        input_params={},
        params={},
    )
    with engine.connect() as connection:
        connection.execute(creation.create_job(job))
        connection.rollback()
    assert read_deliveries(rows) == []
    assert heard_by_couriers() == 0


def test_an_endpoint_that_is_being_deleted_does_not_keep_a_job_from_ending(rows, engine):
    endpoint = subscribe(rows)
    other = subscribe(rows)
    job_id = rows.make()
    with engine.connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute(webhooks.delete_endpoint(rows.user_id, endpoint.id))
        ended = pool.submit(rows.run, changes.request_cancel(job_id))
        wait_until(lambda: rows.run(text(WAITING))[0][0], what="the end waits", interval_s=0.005)
        connection.commit()
        ended.result(20)
    assert rows.row(job_id).state == JobState.CANCELED
    assert [delivery.endpoint_id for delivery in read_deliveries(rows)] == [other.id]


def test_one_statement_that_ends_many_jobs_tells_of_each(rows):
    subscribe(rows)
    subscribe(rows, events=["job.expired"])
    ids = {rows.make() for _ in range(5)}
    rows.run(jobs.update().values(deadline=text("now() - interval '1 second'")))
    rows.run(changes.expire_overdue())
    deliveries = read_deliveries(rows)
    assert len(deliveries) == 10
    assert {delivery.job_id for delivery in deliveries} == ids
    assert {delivery.event for delivery in deliveries} == {JobEventType.EXPIRED}
    # two endpoints are told of one event under one id
    assert len({delivery.message_id for delivery in deliveries}) == 5


def test_old_deliveries_are_pruned_with_their_attempts_and_what_waits_is_not(rows, engine):
    subscribe(rows)
    for _ in range(3):
        rows.run(changes.request_cancel(rows.make()))
    waiting, done, recent = read_deliveries(rows)
    rows.run(webhook_attempts.insert().values(delivery_id=done.id, number=1))
    over = webhook_deliveries.c.id != waiting.id
    rows.run(webhook_deliveries.update().values(state="DELIVERED").where(over))
    month_ago = datetime.now(UTC) - timedelta(days=31)
    rows.run(
        webhook_deliveries.update().values(created_at=month_ago).where(webhook_deliveries.c.id != recent.id)
    )
    sweep = old_deliveries(datetime.now(UTC) - timedelta(days=30))
    assert Housekeeper(engine).sweep(sweep, dry_run=False) == 1
    assert [row.id for row in read_deliveries(rows)] == [waiting.id, recent.id]
    assert rows.run(select(webhook_attempts)) == []


def test_what_was_told_of_a_deleted_job_goes_once_it_was_told(rows, engine):
    subscribe(rows)
    for _ in range(2):
        rows.run(changes.request_cancel(rows.make()))
    told, waiting = read_deliveries(rows)
    rows.run(webhook_deliveries.update().values(state="DELIVERED").where(webhook_deliveries.c.id == told.id))
    assert Housekeeper(engine).sweep(deliveries_of_deleted_jobs(), dry_run=False) == 0
    rows.run(jobs.delete())
    assert Housekeeper(engine).sweep(deliveries_of_deleted_jobs(), dry_run=False) == 1
    assert [row.id for row in read_deliveries(rows)] == [waiting.id]


@pytest.mark.parametrize(("late_s", "level"), [(-60, Level.OK), (30, Level.OK), (600, Level.PROBLEM)])
def test_the_doctor_says_whether_anybody_delivers(rows, database_url, late_s, level):
    subscribe(rows)
    rows.run(changes.request_cancel(rows.make()))
    moment = datetime.now(UTC) - timedelta(seconds=late_s)
    rows.run(webhook_deliveries.update().values(next_attempt_at=moment))
    settings = Settings(_env_file=None, database_url=database_url, dagster_pg_url=database_url)
    [finding] = check_webhooks(settings, awaited=False)
    assert finding.level is level
    assert ("pipeline3d courier" in finding.advice) is (level is Level.PROBLEM)


def test_a_long_outbox_is_not_read_to_its_end(rows):
    subscribe(rows)
    rows.run(
        text(
            "INSERT INTO webhook_deliveries (user_id, url, message_id, event, payload, state)"
            " SELECT :user, 'https://a.example.com', 'evt', 'job.failed', '{}', 'DELIVERED'"
            " FROM generate_series(1, 5000)"
        ),
        user=rows.user_id,
    )
    rows.run(text("ANALYZE webhook_deliveries"))
    plan = rows.run(
        text("EXPLAIN SELECT min(next_attempt_at) FROM webhook_deliveries WHERE state = 'PENDING'")
    )
    assert "ix_webhook_deliveries_due" in str(plan)
