"""The verdict of the benchmark of the API; that it runs is tested where the API's servers are."""

from __future__ import annotations

import math

import pytest

from benchmarks.api import Turn, build_report
from benchmarks.api_load import Measured, percentile

STREAMS = {"expected": 20, "received": 20, "lost": 0, "refused": 0, "p95_ms": 80.04, "memory_mb": 40.0}


def turn(per_s: float, p95_ms: float = 10.0, failures: int = 0) -> Turn:
    measured = Measured(per_s=per_s, answered=100, p50_ms=5.0, p95_ms=p95_ms, failures=failures)
    return Turn(measured, cpu_ms=1.0)


@pytest.mark.parametrize(
    ("change", "streams", "broken"),
    [
        ({}, {}, set()),
        ({"get": [turn(600)] * 3}, {}, {"get_per_s", "get_to_bare_select"}),
        ({"create": [turn(400, p95_ms=51)] * 3}, {}, {"create_p95_ms"}),
        ({"create": [turn(400), turn(400), turn(1)]}, {}, set()),  # one bad moment is none of the route's
        ({"create, with a key": [turn(200)] * 3}, {}, {"keyed_create_per_s", "keyed_create_to_bare_insert"}),
        ({"get": [turn(1600, failures=1)] * 3}, {}, {"failures"}),
        ({}, {"received": 19}, {"events_missed"}),
        ({}, {"received": 21}, {"events_missed"}),
        ({}, {"refused": 1}, {"streams_lost"}),
        ({}, {"p95_ms": 501, "memory_mb": 101}, {"events_p95_ms", "streams_mb"}),
    ],
)
def test_a_bar_breaks_by_what_it_is_about(change, streams, broken):
    turns = {
        "create": [turn(400)] * 3,
        "create, with a key": [turn(400)] * 3,
        "bare INSERT": [turn(700)] * 3,
        "get": [turn(1600)] * 3,
        "bare SELECT": [turn(2000)] * 3,
    }
    bars = build_report({**turns, **change}, {**STREAMS, **streams})["bars"]
    assert {name for name, found in bars.items() if not found["holds"]} == broken


@pytest.mark.parametrize(
    ("ordered", "percent", "value"),
    [([1], 95, 1), ([1, 2, 3, 4], 50, 2), (list(range(1, 101)), 95, 95), ([1, 9], 100, 9), ([1, 9], 0, 1)],
)
def test_a_percentile_is_a_value_that_was_measured(ordered, percent, value):
    assert percentile(ordered, percent) == value


def test_nothing_has_no_percentile():
    assert math.isnan(percentile([], 95))
