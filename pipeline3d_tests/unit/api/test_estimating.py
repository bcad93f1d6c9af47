"""What a snapshot of the queues says of a job to be: learned where there is a history, null where not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline3d.api.estimating import estimate_times
from pipeline3d.requests.queue_snapshot import MOST_COUNTED, Line, Queue, QueueSnapshot, build_model


def snapshot(lengths_s=(), waiting=0, work_s=0.0, **queue):
    lines = {str(number): Line(ahead=number, ahead_s=0.0) for number in range(waiting)}
    facts = {"slots": 2, "paused": False, "running": 2, "running_s": 10.0, "lines": lines, "work_s": work_s}
    return QueueSnapshot(
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        queues={"cpu": Queue(**{**facts, **queue})},
        models={"m": build_model("cpu", lengths_s)},
    )


@pytest.mark.parametrize(
    ("lengths_s", "median_s", "p90_s", "basis"),
    [
        ((), None, None, "declared"),
        ((4.0,), 4.0, None, "history of 1 jobs"),
        (tuple(map(float, range(11))), 5.0, 9.0, "history of 11 jobs"),
        ((2.0,) * 50, 2.0, 2.0, "history of 50 jobs"),
    ],
)
def test_times_are_those_of_the_newest_jobs(lengths_s, median_s, p90_s, basis):
    found = estimate_times(snapshot(lengths_s), "m")
    assert (found["seconds_median"], found["seconds_p90"], found["basis"]) == (median_s, p90_s, basis)


@pytest.mark.parametrize(
    ("queue", "wait_s"),
    [
        ({}, 5.0),  # half of what runs, for there are two slots
        ({"running": 1}, 0.0),
        ({"waiting": 3, "work_s": 30.0}, 20.0),
        ({"waiting": 3, "work_s": None}, None),
        ({"running_s": None}, None),
        ({"slots": None}, None),
        ({"paused": True}, None),
        ({"waiting": MOST_COUNTED}, None),
    ],
)
def test_the_wait_is_that_of_the_last_in_the_queue(queue, wait_s):
    assert estimate_times(snapshot(**queue), "m")["queue_wait_s"] == wait_s


@pytest.mark.parametrize(("seen", "model"), [(None, "m"), (snapshot((1.0,)), "newer")])
def test_without_a_snapshot_nothing_is_known(seen, model):
    assert set(estimate_times(seen, model).values()) == {None, "declared"}
