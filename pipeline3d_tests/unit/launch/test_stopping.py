"""How patient a run's end is: which signal is due when."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.launch.stopping import LADDER, Stopping

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL


@pytest.mark.parametrize(
    ("looks", "sent"),
    [
        ([0.0], [INT]),  # at once
        ([0.0, 1.0, 3.9], [INT, None, None]),  # time to clean up
        ([0.0, 4.0], [INT, TERM]),
        ([0.0, 4.0, 8.0], [INT, TERM, KILL]),
        ([0.0, 8.5], [INT, KILL]),  # the warden was busy meanwhile: no time is left for politeness
        ([9.0], [KILL]),
        ([0.0, 4.0, 8.0, 60.0], [INT, TERM, KILL, None]),  # nothing is stronger
    ],
)
def test_the_signal_that_is_due_comes_once_and_the_strongest_wins(looks, sent):
    stopping = Stopping(since=100.0)
    assert [stopping.due(100.0 + after) for after in looks] == sent


@pytest.mark.parametrize(
    ("looks", "now", "wait"),
    [
        ([], 0.0, 0.0),  # the first one is due now
        ([0.0], 0.0, 4.0),
        ([0.0], 3.5, 0.5),
        ([0.0], 5.0, 0.0),  # overdue
        ([0.0, 4.0], 5.0, 3.0),
        ([0.0, 4.0, 8.0], 9.0, None),  # nothing is left to wait for
    ],
)
def test_the_warden_knows_how_long_it_may_sleep(looks, now, wait):
    stopping = Stopping(since=100.0)
    for after in looks:
        stopping.due(100.0 + after)
    assert stopping.seconds_to_next(100.0 + now) == wait


@given(pauses=st.lists(st.floats(min_value=0, max_value=5), max_size=30))
def test_whenever_the_warden_looks_signals_only_grow_and_none_comes_twice(pauses):
    stopping, now, sent = Stopping(since=0.0), 0.0, []
    for pause in pauses:
        now += pause
        number = stopping.due(now)
        if number is not None:
            sent.append(number)
    order = [number for _, number in LADDER]
    assert [order.index(number) for number in sent] == sorted({order.index(number) for number in sent})
    assert (order[-1] in sent) == (bool(pauses) and now >= LADDER[-1][0])


def test_even_the_most_stubborn_run_is_gone_within_ten_seconds():
    last_s, number = LADDER[-1]
    assert number is signal.SIGKILL
    assert last_s < 10
