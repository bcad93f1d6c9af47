"""The tables of rules: complete, without contradictions, and found by their names."""

from __future__ import annotations

import pytest

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.gate_profiles import PROFILES, rules_of


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_has_two_rules_of_one_name(profile):
    names = [rule.name for rule in PROFILES[profile]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_warning_is_stricter_than_the_error_about_the_same_fact(profile):
    rules = PROFILES[profile]
    for error in (rule for rule in rules if rule.severity == "error" and rule.at_most is not None):
        for warning in (rule for rule in rules if rule.severity == "warning" and rule.fact == error.fact):
            assert warning.at_most is None or warning.at_most < error.at_most


def test_an_unknown_profile_is_refused_with_the_names_that_there_are():
    with pytest.raises(InvalidParameters, match="web, ar, print, game") as refusal:
        rules_of("vr")
    assert refusal.value.code == "unknown_profile"
