"""What follows for a request from a snapshot of the queues: pure, on frozen values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from pipeline3d.requests.outlook import Outlook, QueueView, foresee
from pipeline3d.requests.queue_snapshot import (
    MOST_COUNTED,
    Line,
    Queue,
    QueueSnapshot,
    build_model,
    number_lines,
    sum_known,
)

TAKEN_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB_ID = UUID(int=1)
MODELS = {"steady": build_model("cpu", [10.0, 10.0]), "new": build_model("cpu", [])}


@dataclass(frozen=True, kw_only=True)
class Job:
    id: UUID = JOB_ID
    state: str = "QUEUED"
    model_id: str = "steady"
    not_before: datetime | None = None
    started_at: datetime | None = None
    updated_at: datetime = TAKEN_AT - timedelta(minutes=1)
    held: bool = False
    waits_for: UUID | None = None
    lease_until: datetime | None = None


def moment(seconds):
    return TAKEN_AT + timedelta(seconds=seconds)


def view(line=None, *, others=0, passed_s=0.0, is_after_question=False, **queue):
    lines = {str(UUID(int=1000 + number)): Line(ahead=number, ahead_s=0.0) for number in range(others)}
    if line is not None:
        lines[str(JOB_ID)] = line
    facts = {"slots": 2, "paused": False, "running": 0, "running_s": 0.0, "lines": lines, **queue}
    snapshot = QueueSnapshot(taken_at=TAKEN_AT, queues={"cpu": Queue(**facts)}, models=MODELS)
    return QueueView(snapshot=snapshot, now=moment(passed_s), is_after_question=is_after_question)


@pytest.mark.parametrize(
    ("line", "queue", "start_s"),
    [
        (Line(0, 0.0), {}, 0),
        (Line(1, 10.0), {}, 0),  # the second slot is free
        (Line(2, 20.0), {}, 10),
        (Line(0, 0.0), {"running": 2, "running_s": 6.0}, 3),
        (Line(4, 40.0), {"running": 2, "running_s": 6.0}, 23),
        (Line(0, 0.0), {"running": 1, "running_s": None}, 0),  # whatever that takes, another slot is free
        (Line(0, 0.0), {"running": 2, "running_s": None}, None),
        (Line(2, None), {}, None),
        (Line(0, 0.0), {"slots": None}, None),
        (Line(0, 0.0), {"paused": True}, None),
        (Line(0, 0.0, held_back=True), {}, None),
        (Line(MOST_COUNTED - 1, 0.0), {}, None),
        (Line(MOST_COUNTED - 2, 0.0), {}, 0),
    ],
)
def test_a_request_starts_when_what_is_ahead_of_it_is_shared_out_between_the_slots(line, queue, start_s):
    found = foresee(Job(), view(line, **queue))
    if start_s is None:
        assert replace(found, waits_because=None) == Outlook(position=line.ahead + 1)
    else:
        assert found == Outlook(
            position=line.ahead + 1, starts_at=moment(start_s), ends_at=moment(start_s + 10)
        )


@pytest.mark.parametrize(
    ("passed_s", "not_before_s", "start_s"),
    [
        (0, None, 5),
        (3, None, 5),  # the snapshot is older, what it says stays
        (7, None, 7),  # nothing starts in the past
        (7, -20, 7),
        (0, 30, 30),  # the time of a retry
    ],
)
def test_a_start_is_neither_in_the_past_nor_before_the_time_of_a_retry(passed_s, not_before_s, start_s):
    job = Job(not_before=None if not_before_s is None else moment(not_before_s))
    found = foresee(job, view(Line(1, 10.0), slots=2, running=1, running_s=0.0, passed_s=passed_s))
    assert found.starts_at == moment(start_s)


def test_a_request_of_a_model_without_history_has_a_start_and_no_end():
    assert foresee(Job(model_id="new"), view(Line(0, 0.0))) == Outlook(position=1, starts_at=moment(0))


@pytest.mark.parametrize(
    ("job", "line", "queue", "reason"),
    [
        ({}, Line(0, 0.0), {}, None),
        ({}, Line(0, 0.0), {"paused": True}, "queue_paused"),
        ({"lease_until": moment(9)}, Line(0, 0.0), {"paused": True}, None),  # it has left the queue
        ({"lease_until": moment(-9)}, Line(0, 0.0), {"paused": True}, "queue_paused"),
        ({}, Line(0, 0.0), {"slots": None}, "no_worker"),
        ({}, Line(0, 0.0, held_back=True), {"slots": None}, "limit"),
        ({"not_before": moment(9)}, Line(0, 0.0), {"slots": None}, "retry_later"),
        ({"not_before": moment(-9)}, Line(0, 0.0), {}, None),
        ({"held": True, "waits_for": UUID(int=9)}, None, {}, "held"),
        ({"waits_for": UUID(int=9)}, None, {"paused": True}, "input_job"),
    ],
)
def test_a_request_waits_for_the_first_thing_that_would_have_to_change(job, line, queue, reason):
    found = foresee(Job(**job), view(line, **queue))
    assert found.waits_because == reason
    assert (found.position is None) == (line is None)


@pytest.mark.parametrize(
    ("ran_s", "length_s"),
    [(0, 10), (7, 20), (15, 25), (25, 30), (30, None), (40, None)],
)
def test_a_run_is_expected_to_take_as_long_as_those_that_took_longer(ran_s, length_s):
    snapshot = replace(view().snapshot, models={"steady": build_model("cpu", [30.0, 2.0, 4.0, 10.0, 20.0])})
    job = Job(state="RUNNING", started_at=moment(-ran_s))
    found = foresee(job, QueueView(snapshot=snapshot, now=moment(0)))
    assert found == Outlook(ends_at=None if length_s is None else moment(length_s - ran_s))


@pytest.mark.parametrize("state", ["RUNNING", "CANCELING", "SUCCEEDED", "FAILED", "CANCELED", "EXPIRED"])
def test_what_has_begun_or_ended_since_the_snapshot_has_no_place_though_it_has_one_there(state):
    assert foresee(Job(state=state), view(Line(0, 0.0))).position is None


class TestUnseen:
    """A queued request that is not in the snapshot."""

    @pytest.mark.parametrize(
        ("others", "updated_s", "is_after_question", "expected"),
        [
            (MOST_COUNTED, -60, False, Outlook(position=MOST_COUNTED)),
            (MOST_COUNTED, -0.5, False, None),  # it may have been committed later
            (MOST_COUNTED, 5, False, None),  # it may be more urgent than all that was there
            (MOST_COUNTED, 5, True, Outlook(position=MOST_COUNTED)),
            (3, -60, False, None),  # it would be in it
            (3, 5, False, None),
            (3, 5, True, Outlook()),  # it is no longer queued
        ],
    )
    def test_it_is_behind_all_that_are_counted_or_a_newer_one_is_needed(
        self, others, updated_s, is_after_question, expected
    ):
        job = Job(updated_at=moment(updated_s))
        assert foresee(job, view(others=others, is_after_question=is_after_question)) == expected

    @pytest.mark.parametrize("state", ["QUEUED", "RUNNING"])
    def test_a_model_that_is_newer_than_the_snapshot_needs_a_newer_one(self, state):
        job = Job(state=state, model_id="newest", started_at=TAKEN_AT)
        assert foresee(job, view()) is None
        assert foresee(job, view(is_after_question=True)) == Outlook()


def test_lines_count_what_is_ahead_until_the_first_of_unknown_length():
    requests = [("a", "steady", False), ("b", "steady", True), ("c", "new", False), ("d", "steady", False)]
    assert number_lines(requests, MODELS) == {
        "a": Line(0, 0.0, False),
        "b": Line(1, 10.0, True),
        "c": Line(2, 20.0, False),
        "d": Line(3, None, False),
    }


@pytest.mark.parametrize(
    ("seconds", "expected"), [([], 0.0), ([1.0, 2.5], 3.5), ([None], None), ([1.0, None], None)]
)
def test_a_sum_is_known_where_every_part_is(seconds, expected):
    assert sum_known(seconds) == expected


@pytest.mark.parametrize(("lengths_s", "median_s"), [([], None), ([4.0], 4.0), ([1.0, 9.0, 2.0, 4.0], 3.0)])
def test_a_model_takes_the_median_of_its_newest_runs(lengths_s, median_s):
    assert build_model("cpu", lengths_s).median_s == median_s
