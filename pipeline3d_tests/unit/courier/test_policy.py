"""When a message is tried again: the plan, what receivers ask for, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.courier.policy import (
    LONGEST_ASKED_WAIT_S,
    SPREAD,
    CourierPolicy,
    parse_retry_after,
    plan_retry,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = CourierPolicy()


def test_ten_attempts_are_spread_over_about_a_day():
    waits = [plan_retry(POLICY, failures, chance=lambda: 0.0) for failures in range(1, 11)]
    assert waits[-1] is None
    assert waits[0] == 5
    assert sorted(waits[:-1]) == waits[:-1]
    assert 20 * 3600 < sum(waits[:-1]) < 24 * 3600
    longest = sum(plan_retry(POLICY, failures, chance=lambda: 1.0) for failures in range(1, 10))
    assert longest < 28 * 3600


@given(failures=st.integers(1, 40), asked=st.none() | st.floats(0, 1e12), passing=st.booleans())
def test_a_wait_is_never_shorter_than_planned_nor_endless(failures, asked, passing):
    wait = plan_retry(POLICY, failures, asked_wait_s=asked, passing=passing)
    if failures > (2 if passing else 9):
        assert wait is None
        return
    planned = POLICY.retry_delays_s[failures - 1]
    assert planned <= wait <= max(planned * (1 + SPREAD), LONGEST_ASKED_WAIT_S)
    if asked is not None:
        assert wait >= min(asked, LONGEST_ASKED_WAIT_S)


def test_without_a_plan_there_is_one_attempt():
    assert plan_retry(CourierPolicy(retry_delays_s=()), 1) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        (format_datetime(NOW + timedelta(seconds=90)), 90),
        (format_datetime(NOW - timedelta(seconds=90)), 0),  # it has passed
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),  # a digit, but no ASCII
        ("9" * 400, 999_999_999_999),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_breaks_the_courier(value):
    wait = parse_retry_after(value, NOW)
    assert wait is None or wait >= 0
