"""The rules of a request's life, without a database."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.requests.states import (
    CLOSED_STATES,
    RETRIED_BY_HAND,
    TRANSITIONS,
    is_finished,
    may_follow,
    state_after_failed_attempt,
    states_before,
)
from pipeline3d.values import FINISHED_STATES, JobState

states = st.sampled_from(JobState)
attempts = st.integers(1, 10)


def test_every_state_has_a_rule():
    assert set(TRANSITIONS) == set(JobState)


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (JobState.QUEUED, JobState.RUNNING, True),  # the normal way
        (JobState.RUNNING, JobState.SUCCEEDED, True),
        (JobState.RUNNING, JobState.QUEUED, True),  # the next attempt
        (JobState.QUEUED, JobState.SUCCEEDED, False),  # nothing succeeds without a run
        (JobState.SUCCEEDED, JobState.RUNNING, False),  # a run by hand rebuilds, the outcome stays
        (JobState.FAILED, JobState.RUNNING, True),  # a person starts it again
        (JobState.FAILED, JobState.QUEUED, True),  # a person queues it again
        (JobState.CANCELED, JobState.QUEUED, True),  # a person thought better of it
        (JobState.EXPIRED, JobState.QUEUED, True),
        (JobState.CANCELED, JobState.RUNNING, False),  # no run takes over what somebody canceled
        (JobState.SUCCEEDED, JobState.QUEUED, False),  # a result stays
        (JobState.CANCELING, JobState.SUCCEEDED, False),  # who asked for an end gets it
        (JobState.RUNNING, JobState.EXPIRED, False),  # a deadline counts in the queue only
    ],
)
def test_a_state_follows_another_only_by_the_rules(before, after, allowed):
    assert may_follow(before, after) is allowed


def test_only_what_did_not_succeed_can_be_started_again():
    assert {state for state in FINISHED_STATES if TRANSITIONS[state]} == RETRIED_BY_HAND
    assert FINISHED_STATES - {JobState.SUCCEEDED} == RETRIED_BY_HAND
    assert all(may_follow(state, JobState.QUEUED) for state in RETRIED_BY_HAND)


@settings(deadline=None)
@given(states)
def test_what_may_follow_and_what_may_precede_are_the_same_rule(after):
    assert states_before(after) == {before for before in JobState if may_follow(before, after)}


@settings(deadline=None)
@given(states)
def test_every_unfinished_request_can_reach_an_end(state):
    reached, frontier = {state}, {state}
    while frontier:
        frontier = {after for before in frontier for after in TRANSITIONS[before]} - reached
        reached |= frontier
    assert reached & FINISHED_STATES
    assert is_finished(state) or TRANSITIONS[state]


@settings(deadline=None)
@given(st.sampled_from([JobState.QUEUED, JobState.RUNNING, JobState.CANCELING]), attempts, attempts)
def test_a_failed_attempt_always_leads_where_the_table_allows(state, attempt, max_attempts):
    after = state_after_failed_attempt(state, attempt=attempt, max_attempts=max_attempts)
    assert may_follow(state, after)
    assert (after is JobState.QUEUED) == (attempt < max_attempts and state is not JobState.CANCELING)


def test_closed_states_are_finished():
    assert CLOSED_STATES < FINISHED_STATES
