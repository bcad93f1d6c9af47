"""Which run goes first in Dagster's queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.defs.jobs import run_priority

OF_RUNS_BY_HAND = 0
"""What Dagster takes for a run without the tag: a backfill's, or one that a person started."""

priorities = st.integers(-100, 100)
turns = st.integers(0, 100_000)


@given(priority=priorities, turn=turns)
def test_every_request_goes_before_backfills_and_runs_by_hand(priority, turn):
    assert run_priority(priority, turn) > OF_RUNS_BY_HAND


@given(lower=priorities, higher=priorities, turn=turns, other_turn=turns)
def test_a_higher_priority_goes_first_whosever_turn_it_is(lower, higher, turn, other_turn):
    if lower < higher:
        assert run_priority(lower, turn) < run_priority(higher, other_turn)


@given(priority=priorities, turn=st.integers(0, 998))
def test_users_take_turns_inside_a_priority(priority, turn):
    assert run_priority(priority, turn) > run_priority(priority, turn + 1)
