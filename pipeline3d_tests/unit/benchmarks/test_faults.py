"""The verdict of the fault benchmark: what counts as twice, as lost, and whose fault it was."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.faults import Outcome, build_report
from benchmarks.faults_kills import Fault, draw_faults
from benchmarks.faults_load import USERS, plan_requests
from benchmarks.faults_verdict import (
    Event,
    History,
    Kill,
    build_rows,
    find_duplicates,
    find_repeated_steps,
    in_flight,
    parse_history,
)
from pipeline3d.values import JobState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIRST_RUN = ["started", "probe_source", "probe_work", "probe_delivery"]


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def event(second: int, attempt: int, what: str, run_id: str | None = None) -> Event:
    """A word for an event: a stage that begins, or anything else that happened."""
    is_stage = what.startswith("probe_")
    return Event(
        at=at(second),
        name="progress" if is_stage else what,
        attempt=attempt,
        run_id=run_id,
        stage=what if is_stage else None,
    )


def history(
    words: list[tuple[int, str] | tuple[int, str, str]],
    *,
    state: JobState = JobState.SUCCEEDED,
    ended_at: float | None = 10,
    error_code: str | None = None,
) -> History:
    return History(
        job_id="a",
        state=state,
        attempt=words[-1][0] if words else 1,
        error_code=error_code,
        error_message="because" if error_code else None,
        created_at=NOON,
        completed_at=None if ended_at is None else at(ended_at),
        events=tuple(event(second, *word) for second, word in enumerate(words)),
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # the usual way
        ([*((1, word) for word in FIRST_RUN), (1, "succeeded")], []),
        # the work was interrupted in the middle: it may be done again
        ([(1, "started"), (1, "probe_source"), (1, "probe_work"), (2, "started"), (2, "probe_work")], []),
        # nothing was finished
        ([(1, "started"), (1, "probe_source"), (2, "started"), (2, "probe_source")], []),
        # the work was finished, for the delivery had begun
        (
            [*((1, word) for word in FIRST_RUN), (2, "started"), (2, "probe_work")],
            ["stage probe_work was finished and done again"],
        ),
        # the third attempt forgets what the first one finished
        (
            [(1, "probe_source"), (1, "probe_work"), (2, "probe_work"), (3, "probe_source")],
            ["stage probe_source was finished and done again"],
        ),
        ([(1, "succeeded"), (1, "succeeded")], ["finished 2 times"]),
        ([(1, "succeeded"), (1, "canceled")], ["finished 2 times"]),
        # the same run may say twice that it began
        ([(1, "started", "run-a"), (1, "started", "run-a")], []),
        ([(1, "started", "run-a"), (1, "started", "run-b")], ["attempt 1 was begun by 2 runs"]),
        ([(1, "started", "run-a"), (2, "started", "run-b")], []),
    ],
)
def test_what_was_done_twice_is_told_from_what_may_be_repeated(words, said):
    assert find_duplicates(history(words)) == said


def test_a_step_that_succeeded_in_two_runs_is_named():
    successes = [("a", "probe_source"), ("a", "probe_work"), ("b", "probe_source"), ("a", "probe_source")]
    assert find_repeated_steps(successes) == ["request a: stage probe_source succeeded 2 times in Dagster"]


@pytest.mark.parametrize(
    ("killed_at", "ended_at", "met"),
    [
        (-1, 10, False),  # before it was asked for
        (0, 10, True),
        (9, 10, True),
        (10, 10, False),  # it had its end
        (999, None, True),  # it never ended
    ],
)
def test_a_kill_counts_for_the_requests_that_it_meets(killed_at, ended_at, met):
    kill = Kill(fault="daemon", at=at(killed_at))
    assert in_flight(history([], ended_at=ended_at), kill) is met


def test_the_rows_say_for_each_kind_whom_it_met_and_which_attempts_it_cost():
    retried = history([(1, "started"), (1, "created"), (2, "attempt_failed"), (2, "succeeded")], ended_at=4)
    lost = history([(1, "started")], state=JobState.RUNNING, ended_at=None)
    worker_lost = history([(3, "failed")], state=JobState.FAILED, error_code="worker_lost", ended_at=2)
    kills = [Kill(fault="warden", at=at(1)), Kill(fault="api", at=at(3)), Kill(fault="warden", at=at(50))]
    api, warden, everything = build_rows([retried, lost, worker_lost], kills)
    assert (api["killed"], api["times"], api["requests"], api["attempts_lost"]) == ("api", 1, 2, 0)
    assert (warden["times"], warden["requests"], warden["attempts_lost"]) == (2, 3, 1)
    assert (warden["finished"], warden["lost"], warden["worker_lost"]) == (2, 1, 1)
    # one second after the first, and nothing ended after the second
    assert (warden["next_end_s"], api["next_end_s"]) == (1.0, 1.0)
    assert (everything["killed"], everything["times"], everything["lost"]) == ("all", 3, 1)


@pytest.mark.parametrize(
    ("changed", "bars_that_break", "complaint"),
    [
        ({}, set(), None),
        ({"histories": [history([], state=JobState.QUEUED, ended_at=None)]}, {"lost"}, "QUEUED for ever"),
        ({"histories": [history([(1, "succeeded")] * 2)]}, {"finished_twice"}, "finished 2 times"),
        ({"histories": [history([], state=JobState.FAILED)]}, set(), "FAILED without a reason"),
        ({"histories": [history([], state=JobState.FAILED, error_code="worker_lost")]}, set(), None),
        ({"repeated_steps": ["request a: stage b"]}, {"finished_twice"}, "stage b"),
        ({"leftovers": {"zombies": 2}}, {"left_behind"}, "left behind: 2 zombies"),
        ({"refusal": ValueError("no")}, {"lost"}, "a request was refused"),
    ],
)
def test_the_bars_break_for_what_they_are_about(changed, bars_that_break, complaint):
    well = {
        "histories": [history([(1, "succeeded")])],
        "kills": [],
        "repeated_steps": [],
        "leftovers": {},
        "log_errors": {},
        "seconds": 1.0,
    }
    report = build_report(Outcome(**{**well, **changed}), seed=1)
    assert {name for name, found in report["bars"].items() if not found["holds"]} == bars_that_break
    assert [complaint in said for said in report["complaints"]] == ([True] if complaint else [])


def test_the_same_seed_plans_the_same_requests_for_all_users():
    planned = plan_requests(50, seed=7)
    assert planned == plan_requests(50, seed=7)
    assert planned != plan_requests(50, seed=8)
    assert {request.user for request in planned} == set(range(USERS))
    assert len({request.key for request in planned}) == 50
    assert {request.params["in_subprocess"] for request in planned} == {True, False}


@pytest.mark.parametrize("seed", range(5))
def test_no_kind_of_fault_is_left_out_by_chance(seed):
    drawn = list(itertools.islice(draw_faults(random.Random(seed)), 2 * len(Fault)))
    assert set(drawn[: len(Fault)]) == set(drawn[len(Fault) :]) == set(Fault)


def test_rows_of_the_database_become_a_history():
    job = {
        "id": "a",
        "state": "FAILED",
        "attempt": 2,
        "error_code": "x",
        "error_message": "y",
        "created_at": NOON,
        "completed_at": at(1),
    }
    rows = [
        {"created_at": NOON, "payload": {"event": "started", "run_id": "r", "attempt": 1}},
        {"created_at": NOON, "payload": {"event": "progress", "attempt": 1, "progress": {"stage": "s"}}},
        {"created_at": NOON, "payload": {"event": "attempt_failed", "attempt": 2, "code": "x"}},
    ]
    parsed = parse_history(job, rows)
    assert (parsed.finished, parsed.explained, parsed.state) == (True, True, JobState.FAILED)
    assert [(event.name, event.run_id, event.stage, event.code) for event in parsed.events] == [
        ("started", "r", None, None),
        ("progress", None, "s", None),
        ("attempt_failed", None, None, "x"),
    ]
