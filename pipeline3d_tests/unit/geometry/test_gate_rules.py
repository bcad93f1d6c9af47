"""The tables of rules are complete: each line says what, how much, why, and what one can do."""

from __future__ import annotations

import pytest

from pipeline3d.geometry.gate import FACTS
from pipeline3d.geometry.gate_profiles import PROFILES

EVERY_RULE = [
    pytest.param(rule, id=f"{profile}-{rule.name}") for profile, rules in PROFILES.items() for rule in rules
]


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_every_rule_is_complete(rule):
    assert rule.fact in FACTS
    assert rule.sentence.endswith(".")
    assert rule.hint.endswith(".")
    assert rule.reason.endswith(".")
    limits = [rule.at_most, rule.at_least, rule.above, rule.must_be]
    assert any(limit is not None for limit in limits)
