"""What a request costs: declared factors, and catalogues that cannot be reckoned with."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.requests.costs import MOST_UNITS, check_costs, cost_of
from resources.catalogue import shipped_model

SCHEMA = {"properties": {"quality": {"type": "string"}, "n": {"type": "integer"}, "on": {"type": "boolean"}}}


@pytest.mark.parametrize(
    ("costs", "params", "units"),
    [
        ({}, {}, "1"),
        ({"base": 0}, {"n": 5}, "0"),
        ({"base": 2.5}, {}, "2.5"),
        ({"base": 2, "multipliers": {"n": "value"}}, {"n": 3}, "6"),
        ({"base": 2, "multipliers": {"n": "value"}}, {}, "2"),
        ({"base": 2, "multipliers": {"n": "value"}}, {"n": True}, "2"),
        ({"base": 2, "multipliers": {"n": "value"}}, {"n": -1}, "0"),
        ({"base": 1, "multipliers": {"quality": {"fast": 0.5}}}, {"quality": "fast"}, "0.5"),
        ({"base": 1, "multipliers": {"quality": {"fast": 0.5}}}, {"quality": "other"}, "1"),
        ({"base": 1, "multipliers": {"on": {"true": 3}}}, {"on": True}, "3"),
        (
            {"base": 1, "multipliers": {"quality": {"fast": 0.5}, "n": "value"}},
            {"quality": "fast", "n": 4},
            "2",
        ),
        ({"base": 0.0004}, {}, "0"),
    ],
)
def test_the_base_is_multiplied_by_the_factor_of_each_parameter(costs, params, units):
    assert cost_of(costs, params) == Decimal(units)


@given(
    base=st.integers(0, 10**6) | st.floats(0, 1e6),
    factor=st.floats(0, 1000),
    number=st.integers(-(10**6), 10**9) | st.floats(-1e9, 1e9),
)
def test_whatever_is_reckoned_can_be_stored(base, factor, number):
    costs = {"base": base, "multipliers": {"quality": {"fast": factor}, "n": "value"}}
    units = cost_of(costs, {"quality": "fast", "n": number})
    assert 0 <= units <= MOST_UNITS
    assert units == units.quantize(Decimal("0.001"))


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ({"base": -1}, "below zero"),
        ({"base": "1"}, "no number"),
        ({"base": True}, "no number"),
        ({"base": 1, "multipliers": {"none": "value"}}, "no parameter"),
        ({"base": 1, "multipliers": {"quality": "value"}}, "no number"),
        ({"base": 1, "multipliers": {"quality": {"fast": -1}}}, "below zero"),
        ({"base": 1, "multipliers": {"quality": 3}}, "no factors"),
    ],
)
def test_costs_that_cannot_be_reckoned_are_refused(costs, told):
    with pytest.raises(ValueError, match=told):
        check_costs(costs, SCHEMA)


def test_the_shipped_models_declare_theirs():
    model = shipped_model("triposr-v1")
    usual = model.default_params
    assert cost_of(model.costs, usual) == 5
    assert cost_of(model.costs, {**usual, "quality": "fast", "num_candidates": 4}) == 10
    assert cost_of(shipped_model("probe-v1").costs, {}) == 0
