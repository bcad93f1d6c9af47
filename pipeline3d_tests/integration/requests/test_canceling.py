"""Asking for an end: the request, its launched run and the worker that has it hear of it at once."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import select

from pipeline3d.database.tables import launched_runs
from pipeline3d.requests.fleet import WORKERS_CHANNEL, Fleet
from pipeline3d.values import JobState

LONG_S = 3600.0


@pytest.fixture
def fleet(engine):
    return Fleet(engine)


@pytest.fixture
def called(database_url):
    """Whom the workers' channel called since it was last asked."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"LISTEN {WORKERS_CHANNEL}")

        def read():
            connection.execute("SELECT 1")
            return [message.payload for message in connection.notifies(timeout=0)]

        yield read


def launch(fleet, job_id, run_id="r1", attempt=1):
    fleet.launch(run_id, job_name="image_to_3d", queue="cpu", job_id=job_id, attempt=attempt)


def to_be_stopped(rows):
    asked = select(launched_runs.c.run_id).where(launched_runs.c.cancel_requested_at.is_not(None))
    return {row.run_id for row in rows.run(asked)}


def test_the_worker_of_a_running_request_is_called_to_end_its_run(rows, ledger, fleet, called):
    job_id = rows.make()
    rows.worker("w1")
    launch(fleet, job_id)
    fleet.take("r1", "w1", 77)
    ledger.begin(job_id, attempt=1, run_id="r1", delivers=True)
    called()
    assert ledger.request_cancel(job_id) is JobState.CANCELING
    assert to_be_stopped(rows) == {"r1"}
    assert called() == ["w1"]


def test_a_run_that_was_launched_and_has_not_begun_is_to_be_stopped_too(rows, ledger, fleet, called):
    job_id = rows.make()
    launch(fleet, job_id)
    called()
    assert ledger.request_cancel(job_id) is JobState.CANCELED
    assert to_be_stopped(rows) == {"r1"}
    assert called() == ["r1"], "no worker has taken it, so it is called by its own name"


def test_only_the_run_of_this_attempt_of_this_request_is_stopped(rows, ledger, fleet):
    job_id, other = rows.make(), rows.make()
    launch(fleet, job_id, "earlier attempt", attempt=0)
    launch(fleet, other, "another request")
    ledger.begin(job_id, attempt=1, run_id="by hand", delivers=True)
    fleet.launch("by hand", job_name="image_to_3d", queue="cpu", job_id=None, attempt=None)
    ledger.request_cancel(job_id)
    assert to_be_stopped(rows) == {"by hand"}


def test_asking_again_changes_nothing(rows, ledger, fleet, called):
    job_id = rows.make()
    launch(fleet, job_id)
    ledger.begin(job_id, attempt=1, run_id="r1", delivers=True)
    ledger.request_cancel(job_id)
    before, told = rows.row(job_id), rows.events(job_id)
    called()
    assert ledger.request_cancel(job_id) is JobState.CANCELING
    assert (rows.row(job_id), rows.events(job_id), called()) == (before, told, [])


def test_a_request_without_a_launched_run_calls_nobody(rows, ledger, called):
    ledger.request_cancel(rows.make())
    assert called() == []


def test_the_history_tells_of_the_cancel(rows, ledger):
    job_id = rows.make()
    ledger.request_cancel(job_id)
    assert rows.events(job_id)[-1] == {"event": "cancel_requested", "state": "CANCELED", "attempt": 1}
