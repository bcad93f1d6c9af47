"""A courier as a process that is killed, and a database that goes away under one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import select, text

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.webhook_tables import webhook_deliveries
from pipeline3d.requests import webhook_deliveries as deliveries
from pipeline3d.requests import webhooks
from pipeline3d_tests.integration.courier.receiving import delivering, quick_policy, receiving
from pipeline3d_tests.integration.requests.database_fixtures import JobRows
from pipeline3d_tests.servers import wait_until

LISTENING = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'pipeline3d courier'"
HEAVY = ("dagster", "fastapi", "numpy", "torch", "minio", "pipeline3d.api")


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def start(tmp_path, database_url):
    """Starts `pipeline3d courier`; whatever is left is killed at the end."""
    started = []

    def start() -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "DAGSTER_PG_URL": database_url,
            "API_URL": "https://3d.example.com",
            "PIPELINE3D_DATA_DIR": str(tmp_path / "data"),
            "PIPELINE3D_WEBHOOK_HOSTS": "127.0.0.1",
            "PIPELINE3D_WEBHOOK_RETRY_S": "0.05,0.05",
        }
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline3d.cli", "courier"],
                env=environment,
                cwd=tmp_path,
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def is_delivered(rows):
    return [row.state for row in rows.run(select(webhook_deliveries))] == ["DELIVERED"]


def test_a_courier_that_is_killed_between_the_answer_and_the_record_loses_nothing(
    database_url, rows, receiver, start
):
    [endpoint] = rows.run(webhooks.create_endpoint(rows.user_id, receiver.url, at_most=9))
    rows.run(deliveries.send_test(rows.user_id, endpoint.id))
    receiver.free.clear()
    courier = start()
    receiver.wait_for(1)
    courier.kill()
    courier.wait()
    receiver.free.set()
    [held] = rows.run(select(webhook_deliveries))
    assert (held.state, held.attempts) == ("PENDING", 1)
    assert held.lease_until is not None
    rows.run(webhook_deliveries.update().values(next_attempt_at=text("now()")))  # its lease ends
    with delivering(database_url, quick_policy()):
        wait_until(lambda: is_delivered(rows), what="it is delivered", interval_s=0.005)
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)
    second.verify(endpoint.secret)


def test_the_process_delivers_ends_when_told_to_and_hands_back_what_it_holds(rows, receiver, start):
    [endpoint] = rows.run(webhooks.create_endpoint(rows.user_id, receiver.url, at_most=9))
    courier = start()
    rows.run(deliveries.send_test(rows.user_id, endpoint.id))
    wait_until(lambda: is_delivered(rows), what="it is delivered")
    receiver.free.clear()
    rows.run(webhook_deliveries.delete())
    rows.run(deliveries.send_test(rows.user_id, endpoint.id))
    receiver.wait_for(2)
    courier.send_signal(signal.SIGTERM)
    assert courier.wait(20) == 0
    [held] = rows.run(select(webhook_deliveries, (webhook_deliveries.c.next_attempt_at <= text("now()"))))
    assert (held.state, held.lease_until, held[-1]) == ("PENDING", None, True)


def test_a_database_that_breaks_all_connections_is_found_again(own_database_url, receiver):
    engine = create_sync_engine(own_database_url)
    rows = JobRows(engine)
    try:
        [endpoint] = rows.run(webhooks.create_endpoint(rows.user_id, receiver.url, at_most=9))
        with delivering(own_database_url, quick_policy(look_every_s=600.0)):
            for count in (1, 2):
                rows.run(deliveries.send_test(rows.user_id, endpoint.id))
                receiver.wait_for(count)
                wait_until(lambda: rows.run(text(LISTENING))[0][0], what="it listens")
                rows.run(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            rows.run(deliveries.send_test(rows.user_id, endpoint.id))
            receiver.wait_for(3)
    finally:
        engine.dispose()


def test_a_courier_needs_neither_dagster_nor_the_api():
    imported = f"print([name for name in {HEAVY!r} if name in sys.modules])"
    question = f"import sys, pipeline3d.cli, pipeline3d.courier_command; {imported}"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, check=True, text=True)
    assert answer.stdout.strip() == "[]"
