"""The wait before the next attempt."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.requests.backoff import LONGEST_DELAY_S, SPREAD, retry_delay_s

JOB = UUID("0197a000-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("failed_attempt", "about_s"),
    [
        (1, 2.0),  # the first delay
        (2, 4.0),  # doubles
        (3, 8.0),
        (7, 128.0),
        (9, 300.0),  # up to the limit
        (5000, 300.0),  # a person may start a request as often as they like
    ],
)
def test_the_delay_doubles_up_to_a_limit(failed_attempt, about_s):
    assert retry_delay_s(JOB, failed_attempt) == pytest.approx(about_s, rel=SPREAD)
    assert retry_delay_s(JOB, failed_attempt) <= LONGEST_DELAY_S


@given(st.uuids(), st.integers(1, 100))
def test_the_same_attempt_always_waits_the_same_time(job_id, failed_attempt):
    delay_s = retry_delay_s(job_id, failed_attempt)
    assert delay_s == retry_delay_s(UUID(str(job_id)), failed_attempt)
    assert 2.0 * (1 - SPREAD) <= delay_s <= LONGEST_DELAY_S


def test_requests_that_fail_together_do_not_come_back_together():
    delays = sorted(retry_delay_s(UUID(int=number), 3) for number in range(100))
    assert delays[-1] - delays[0] > 8 * SPREAD
    assert len(set(delays)) == len(delays)
