"""What becomes of a request when its run has ended, however it ended: once, whoever notices."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest

from pipeline3d.requests.settlement import (
    REPORT_BY_FATE,
    WORKER_LOST,
    RunFate,
    is_called_off,
    settle_ended_run,
)
from pipeline3d.values import FailureReport, JobState

BAD = FailureReport(code="no_clear_object", message="There is nothing in it.")
RUN = "the run"
CODE_BY_FATE = {fate: report.code for fate, report in REPORT_BY_FATE.items()}
ENDS = [RunFate.SUCCEEDED, RunFate.FAILED, RunFate.CANCELED, RunFate.LOST]


@pytest.fixture
def in_state(rows, ledger):
    """Makes a request in a state that it has with, or without, the run."""

    def begin(job_id, run_id=RUN):
        ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)

    def make(state: str, **values):
        job_id = rows.make(**values)
        if state == "dispatched":
            ledger.claim_queued(limit=1, lease_s=60)
        elif state == "canceled while queued":
            ledger.request_cancel(job_id)
        elif state == "begun by another run":
            begin(job_id, "another run")
        else:
            begin(job_id)
        if state == "canceling":
            ledger.request_cancel(job_id)
        elif state == "succeeded":
            ledger.succeed(job_id, RUN)
        elif state == "failed":
            ledger.fail(job_id, RUN, BAD)
        elif state == "on its next attempt":
            ledger.requeue(job_id, RUN, WORKER_LOST, 0)
        return job_id

    return make


def facts(rows, job_id):
    row = rows.row(job_id)
    return row.state, row.attempt


@pytest.mark.parametrize("fate", [*ENDS, RunFate.ALIVE])
@pytest.mark.parametrize(
    "state",
    [
        "succeeded",
        "failed",  # its step said why, and that stays
        "canceled while queued",
        "begun by another run",  # it is that run's now
        "on its next attempt",  # somebody else has settled it
    ],
)
def test_a_request_that_is_not_this_runs_any_more_stays_as_it_is(rows, ledger, in_state, state, fate):
    job_id = in_state(state)
    before = rows.row(job_id), rows.events(job_id)
    assert settle_ended_run(ledger, job_id, RUN, fate, attempt=1) is False
    assert (rows.row(job_id), rows.events(job_id)) == before


@pytest.mark.parametrize("state", ["dispatched", "running", "canceling"])
def test_nothing_is_settled_while_the_run_lives(rows, ledger, in_state, state):
    job_id = in_state(state)
    before = rows.row(job_id)
    assert settle_ended_run(ledger, job_id, RUN, RunFate.ALIVE, attempt=1) is False
    assert rows.row(job_id) == before


@pytest.mark.parametrize("state", ["dispatched", "running"])
@pytest.mark.parametrize("fate", [RunFate.SUCCEEDED, RunFate.FAILED, RunFate.LOST])
def test_an_attempt_that_ended_without_a_word_is_followed_by_the_next(rows, ledger, in_state, state, fate):
    job_id = in_state(state)
    assert settle_ended_run(ledger, job_id, RUN, fate, attempt=1) is True
    row = rows.row(job_id)
    assert (row.state, row.attempt, row.run_id, row.lease_until) == ("QUEUED", 2, None, None)
    assert row.not_before is not None
    assert rows.events(job_id)[-1]["code"] == CODE_BY_FATE[fate]


@pytest.mark.parametrize("state", ["dispatched", "running"])
@pytest.mark.parametrize("fate", [RunFate.SUCCEEDED, RunFate.FAILED, RunFate.LOST])
def test_the_last_attempt_parks_the_request_with_the_reason(rows, ledger, in_state, state, fate):
    job_id = in_state(state, max_attempts=1)
    settle_ended_run(ledger, job_id, RUN, fate, attempt=1)
    row = rows.row(job_id)
    assert (row.state, row.error_code, row.error_retryable) == ("FAILED", CODE_BY_FATE[fate], True)
    assert row.completed_at is not None


@pytest.mark.parametrize("state", ["dispatched", "running", "canceling"])
def test_a_run_that_was_stopped_by_hand_cancels_its_request(rows, ledger, in_state, state):
    job_id = in_state(state)
    assert settle_ended_run(ledger, job_id, RUN, RunFate.CANCELED, attempt=1) is True
    assert facts(rows, job_id) == ("CANCELED", 1)


@pytest.mark.parametrize("fate", ENDS)
def test_whoever_asked_for_an_end_gets_it_however_the_run_ended(rows, ledger, in_state, fate):
    job_id = in_state("canceling")
    assert settle_ended_run(ledger, job_id, RUN, fate, attempt=1) is True
    row = rows.row(job_id)
    assert (row.state, row.attempt, row.error_code) == ("CANCELED", 1, None)


def test_a_run_that_was_started_by_hand_cannot_end_an_attempt_that_it_never_had(rows, ledger, in_state):
    job_id = in_state("dispatched")
    assert settle_ended_run(ledger, job_id, RUN, RunFate.FAILED, attempt=None) is False
    assert facts(rows, job_id) == ("QUEUED", 1)


def test_a_request_that_was_removed_needs_nothing(ledger):
    assert settle_ended_run(ledger, uuid4(), RUN, RunFate.LOST, attempt=1) is False


@pytest.mark.parametrize("fate", ENDS)
@pytest.mark.parametrize("state", ["dispatched", "running", "canceling"])
def test_a_run_is_settled_once_however_many_notice_its_end(rows, ledger, in_state, state, fate):
    job_id = in_state(state)
    told = len(rows.events(job_id))
    gate, settled = threading.Barrier(6), []

    def settle():
        gate.wait()
        settled.append(settle_ended_run(ledger, job_id, RUN, fate, attempt=1))

    threads = [threading.Thread(target=settle) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(settled) == [False] * 5 + [True]
    assert len(rows.events(job_id)) == told + 1
    assert rows.row(job_id).attempt == (1 if rows.row(job_id).state == JobState.CANCELED else 2)


@pytest.mark.parametrize(
    ("state", "called_off"),
    [
        ("dispatched", False),
        ("canceled while queued", True),
        ("begun by another run", True),
        ("on its next attempt", True),  # this run is of an attempt that is over
        ("succeeded", True),
        ("failed", True),
    ],
)
def test_a_run_that_waits_is_called_off_when_its_attempt_no_longer_does(ledger, in_state, state, called_off):
    assert is_called_off(ledger, in_state(state), 1) is called_off


@pytest.mark.parametrize(
    ("removed", "attempt", "called_off"),
    [
        (True, 1, True),  # the request is gone, and nobody would get the result
        (True, None, False),  # a run by hand decides for itself what it may do
        (False, None, False),
    ],
)
def test_runs_by_hand_and_of_removed_requests(rows, ledger, removed, attempt, called_off):
    job_id = uuid4() if removed else rows.make()
    assert is_called_off(ledger, job_id, attempt) is called_off


def test_a_run_that_serves_no_request_is_never_called_off(ledger):
    assert is_called_off(ledger, None, None) is False
