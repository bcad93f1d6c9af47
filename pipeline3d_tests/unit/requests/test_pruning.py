"""Which partitions and runs may go: rules over any history of requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.requests.pruning import KeyFacts, Retention, RunFacts, choose_stale_keys, is_stale_run

NOW = datetime(2026, 8, 1, 3, 30, tzinfo=UTC)
KEEP = Retention(partition_days=30, failed_run_days=90)
OLDEST = NOW - timedelta(days=30)


def at(days_ago: float) -> datetime:
    return NOW - timedelta(days=days_ago)


ages = st.one_of(st.none(), st.floats(0, 60))
histories = st.lists(ages, max_size=40).map(
    lambda found: [
        KeyFacts(key=f"{index:04}", finished_at=None if age is None else at(age))
        for index, age in enumerate(found)
    ]
)
limits = st.integers(0, 45)


@given(history=histories, at_most=limits)
def test_a_request_with_something_left_to_do_is_never_forgotten(history, at_most):
    stale = set(choose_stale_keys(history, oldest=OLDEST, at_most=at_most))
    assert not stale & {fact.key for fact in history if fact.finished_at is None}


@given(history=histories, at_most=limits)
def test_no_more_stay_than_are_allowed_or_unfinished(history, at_most):
    unfinished = sum(fact.finished_at is None for fact in history)
    stay = len(history) - len(choose_stale_keys(history, oldest=OLDEST, at_most=at_most))
    assert stay <= max(at_most, unfinished)


@given(history=histories, at_most=limits)
def test_whatever_goes_is_older_than_whatever_stays(history, at_most):
    stale = set(choose_stale_keys(history, oldest=OLDEST, at_most=at_most))
    gone = [fact.finished_at for fact in history if fact.key in stale]
    kept = [fact.finished_at for fact in history if fact.key not in stale and fact.finished_at]
    assert not gone or not kept or max(gone) <= min(kept)


@given(history=histories, at_most=limits)
def test_nothing_goes_without_a_reason(history, at_most):
    stale = choose_stale_keys(history, oldest=OLDEST, at_most=at_most)
    if len(history) <= at_most:
        assert set(stale) == {fact.key for fact in history if fact.finished_at and fact.finished_at < OLDEST}
    else:
        too_many = len(history) - at_most
        young = [fact for fact in history if fact.key in stale and fact.finished_at >= OLDEST]
        assert len(young) <= too_many


@given(history=histories, at_most=limits)
def test_what_is_left_after_a_prune_is_left_by_the_next(history, at_most):
    stale = set(choose_stale_keys(history, oldest=OLDEST, at_most=at_most))
    left = [fact for fact in history if fact.key not in stale]
    assert choose_stale_keys(left, oldest=OLDEST, at_most=at_most) == []


@pytest.mark.parametrize(
    ("run", "goes"),
    [
        ({"key": "live", "days_ago": 400}, False),  # its partition is still there to be looked at
        ({"key": "live", "days_ago": 400, "failed": True}, False),
        ({"key": "stale", "days_ago": 1}, True),  # the window is full: it goes with its partition
        ({"key": "stale", "days_ago": 1, "failed": True}, False),  # somebody will want to know why
        ({"key": "stale", "days_ago": 91, "failed": True}, True),
        ({"key": None, "days_ago": 29}, False),  # a run of no request: by its age alone
        ({"key": None, "days_ago": 31}, True),
        ({"key": "forgotten", "days_ago": 29}, False),  # somebody removed the key by hand
        ({"key": "forgotten", "days_ago": 31}, True),
        ({"key": "forgotten", "days_ago": 31, "failed": True}, False),
    ],
)
def test_a_run_goes_with_its_partition_or_when_it_is_old(run, goes):
    facts = RunFacts(
        run_id="r", key=run["key"], failed=run.get("failed", False), ended_at=at(run["days_ago"])
    )
    assert is_stale_run(facts, live={"live"}, stale={"stale"}, now=NOW, keep=KEEP) is goes
