"""Requests that are not to start yet: held ones, and those that wait for another one's model."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select, text, update

from pipeline3d.database.tables import jobs
from pipeline3d.requests import changes
from pipeline3d.requests.admission import Admission
from pipeline3d.requests.queue_report import read_queue
from pipeline3d.requests.queue_snapshot import REACHES, read_queues
from pipeline3d.values import FailureReport
from pipeline3d_tests.servers import wait_until

BROKEN = FailureReport(code="broken", message="It broke.", retryable=False)
EXPORT = {"model_id": "export-v1", "kind": "export_model"}


@pytest.fixture
def chain(rows):
    """A request, and one that takes its model."""
    first = rows.make()
    return first, rows.make(input_job_id=first, **EXPORT)


def claimed(ledger):
    return {claim.job_id for claim in ledger.claim_queued(10, 60)}


def test_what_is_held_or_waits_is_neither_claimed_nor_has_a_place(rows, ledger, chain):
    first, _second = chain
    held = rows.make(held=True)
    free = rows.make()
    snapshot = rows.run(read_queues(), reach=REACHES[0], silent_after_s=60.0, jobs_per_user=None)
    places = [job_id for row in snapshot for job_id, *_ in row.waiting or ()]
    assert places == [str(first), str(free)]
    assert claimed(ledger) == {first, free}
    assert claimed(ledger) == set()
    rows.run(update(jobs).where(jobs.c.id == held).values(held=False))
    assert claimed(ledger) == {held}


def test_the_operator_sees_how_many_are_set_aside(rows, engine, chain):
    rows.make(held=True)
    [cpu] = [load for load in read_queue(engine, Admission()).queues if load.queue == "cpu"]
    assert (cpu.waiting, cpu.set_aside) == (1, 2)


def test_it_is_told_and_started_as_soon_as_the_other_has_succeeded(rows, ledger, heard, chain):
    first, second = chain
    assert rows.row(second).waits_for == first
    heard()
    ledger.begin(first, attempt=1, run_id="run-1", delivers=True)
    assert heard() == []
    ledger.succeed(first, "run-1")
    assert str(second) in heard()
    assert rows.row(second).waits_for is None
    last = rows.events(second)[-1]
    assert last == {
        "event": "released",
        "input_job_id": str(first),
        "state": "QUEUED",
        "attempt": 1,
    }
    assert claimed(ledger) == {second}


def test_one_that_is_held_too_stays_held(rows, ledger, heard):
    first = rows.make()
    second = rows.make(input_job_id=first, held=True, **EXPORT)
    heard()
    ledger.begin(first, attempt=1, run_id="run-1", delivers=True)
    ledger.succeed(first, "run-1")
    assert str(second) not in heard()
    assert claimed(ledger) == set()


def fail(rows, ledger, job_id):
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    ledger.fail(job_id, "run-1", BROKEN)


def fail_for_good_before_it_begins(rows, ledger, job_id):
    rows.run(update(jobs).where(jobs.c.id == job_id).values(max_attempts=1))
    ledger.next_attempt(job_id, 1, BROKEN, 0.0)


def cancel(rows, ledger, job_id):
    rows.run(changes.request_cancel(job_id))


def cancel_while_it_runs(rows, ledger, job_id):
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    rows.run(changes.request_cancel(job_id))
    ledger.mark_canceled(job_id, "run-1")


def expire(rows, ledger, job_id):
    rows.run(update(jobs).where(jobs.c.id == job_id).values(deadline=func.now()))
    rows.run(changes.expire_overdue())


def delete(rows, ledger, job_id):
    rows.run(jobs.delete().where(jobs.c.id == job_id))


@pytest.mark.parametrize(
    "end", [fail, fail_for_good_before_it_begins, cancel, cancel_while_it_runs, expire, delete]
)
def test_it_fails_with_the_other_however_that_ends_and_so_do_those_behind_it(rows, ledger, chain, end):
    first, second = chain
    third = rows.make(input_job_id=second, **EXPORT)
    end(rows, ledger, first)
    for waiting, reason in ((second, first), (third, second)):
        row = rows.row(waiting)
        assert (row.state, row.error_code, row.waits_for) == ("FAILED", "input_job_failed", None)
        assert str(reason) in row.error_message
        last = rows.events(waiting)[-1]
        assert (last["event"], last["code"], last["state"]) == (
            "attempt_failed",
            "input_job_failed",
            "FAILED",
        )


def test_another_attempt_of_the_other_keeps_it_waiting(rows, ledger, chain):
    first, second = chain
    ledger.begin(first, attempt=1, run_id="run-1", delivers=True)
    ledger.requeue(first, "run-1", BROKEN, 0.0)
    assert (rows.row(second).state, rows.row(second).waits_for) == ("QUEUED", first)


@pytest.mark.parametrize("retries_input", [True, False])
def test_one_that_is_tried_again_waits_again_where_there_is_something_to_wait_for(
    rows, ledger, chain, retries_input
):
    first, second = chain
    fail(rows, ledger, first)
    if retries_input:
        rows.run(changes.retry_by_hand(first))
    rows.run(changes.retry_by_hand(second))
    assert rows.row(second).state == "QUEUED"
    assert rows.row(second).waits_for == (first if retries_input else None)


@pytest.mark.parametrize("is_there", [True, False])
def test_it_does_not_wait_for_what_has_ended_or_is_gone(rows, ledger, is_there):
    first = rows.make()
    ledger.begin(first, attempt=1, run_id="run-1", delivers=True)
    ledger.succeed(first, "run-1")
    if not is_there:
        delete(rows, ledger, first)
    assert rows.row(rows.make(input_job_id=first, **EXPORT)).waits_for is None


def test_one_that_is_stored_while_the_other_ends_is_not_forgotten(rows, engine, ledger):
    first = rows.make()
    ledger.begin(first, attempt=1, run_id="run-1", delivers=True)
    made = []
    with engine.begin() as connection:
        # the end of the first is under way, and not yet committed
        connection.execute(
            update(jobs)
            .where(jobs.c.id == first)
            .values(state="SUCCEEDED", progress_percent=100, completed_at=func.now())
        )
        thread = threading.Thread(target=lambda: made.append(rows.make(input_job_id=first, **EXPORT)))
        thread.start()
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        wait_until(lambda: rows.run(blocked)[0][0] > 0, what="the second is being stored")
    thread.join()
    assert rows.row(made[0]).waits_for is None
    assert rows.run(select(jobs.c.state).where(jobs.c.id == made[0]))[0].state == "QUEUED"
