"""The gate passes what is good, fails what is not, and never takes the unknown for good."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry.gate import AppliedFix, fixes_between, judge
from pipeline3d.geometry.gate_facts import DeliveryFacts
from pipeline3d.geometry.gate_profiles import PROFILES

GOOD = DeliveryFacts(
    finite=True,
    faces=20_000,
    vertices=10_400,
    draw_calls=1,
    materials=1,
    textures=1,
    texture_px=1024,
    texture_bytes=5_600_000,
    odd_textures=0,
    texel_density_px_per_m=900.0,
    unmapped_parts=0,
    parts_without_normals=0,
    glb_bytes=900_000,
    web_glb_bytes=300_000,
    usdz_bytes=1_000_000,
    glb_errors=0,
    usdz_complaints=0,
    lods=4,
    extents_m=(0.2, 0.25, 0.2),
    ground_gap_m=0.0,
    volume_m3=0.002,
    watertight=True,
    manifold=True,
    winding_consistent=True,
    components=1,
    genus=0,
    degenerate_share=0.0,
    thinnest_m=0.004,
    self_intersections=0,
)

# profile, what is different from the good one, the check that notices, its outcome, the verdict
CASES = [
    ("web", {"faces": 250_000}, "few_faces", "pass", "PASS"),
    ("web", {"faces": 250_001}, "few_faces", "fail", "FAIL"),
    ("web", {"faces": 250_000}, "few_faces_for_slow_devices", "fail", "PASS"),
    ("web", {"faces": 0}, "not_empty", "fail", "FAIL"),
    ("web", {"finite": False}, "finite", "fail", "FAIL"),
    ("web", {"glb_errors": 1}, "valid_glb", "fail", "FAIL"),
    ("web", {"glb_errors": None}, "valid_glb", "unknown", "FAIL"),
    ("web", {"web_glb_bytes": 4_000_000}, "fast_web_glb", "fail", "PASS"),
    ("web", {"web_glb_bytes": 15_000_001}, "small_web_glb", "fail", "FAIL"),
    ("web", {"texture_px": 8192}, "small_textures", "fail", "FAIL"),
    ("web", {"textures": 0, "texture_px": None}, "small_textures", "not_applicable", "PASS"),
    ("web", {"textures": None, "texture_px": None}, "small_textures", "unknown", "FAIL"),
    ("web", {"unmapped_parts": 1}, "textures_are_mapped", "fail", "FAIL"),
    ("web", {"winding_consistent": False}, "consistent_winding", "fail", "FAIL"),
    ("web", {"parts_without_normals": 2}, "has_normals", "fail", "PASS"),
    ("web", {"watertight": False, "usdz_complaints": 4}, "valid_glb", "pass", "PASS"),
    ("ar", {"usdz_complaints": 1}, "valid_usdz", "fail", "FAIL"),
    ("ar", {"usdz_complaints": None}, "valid_usdz", "unknown", "FAIL"),
    ("ar", {"extents_m": (12.0, 1.0, 1.0)}, "real_size", "fail", "FAIL"),
    ("ar", {"extents_m": (0.001, 0.001, 0.001)}, "real_size", "fail", "FAIL"),
    ("ar", {"texture_px": 4096}, "small_textures", "fail", "FAIL"),
    ("ar", {"materials": 21}, "few_materials", "fail", "FAIL"),
    ("ar", {"ground_gap_m": 0.2}, "stands_on_ground", "fail", "PASS"),
    ("print", {"watertight": False}, "watertight", "fail", "FAIL"),
    ("print", {"volume_m3": -0.002}, "solid", "fail", "FAIL"),
    ("print", {"volume_m3": 0.0}, "solid", "fail", "FAIL"),
    ("print", {"thinnest_m": 0.0005}, "thick_enough", "fail", "FAIL"),
    ("print", {"thinnest_m": 0.001}, "sturdy", "fail", "PASS"),
    ("print", {"thinnest_m": None}, "thick_enough", "unknown", "FAIL"),
    ("print", {"thinnest_m": float("nan")}, "thick_enough", "unknown", "FAIL"),
    ("print", {"self_intersections": None}, "no_self_intersections", "unknown", "PASS"),
    ("print", {"components": 3}, "one_piece", "fail", "PASS"),
    ("game", {"lods": 1}, "has_lods", "fail", "PASS"),
    ("game", {"draw_calls": 51}, "few_draw_calls", "fail", "FAIL"),
    ("game", {"odd_textures": 1}, "texture_sides", "fail", "PASS"),
    ("game", {"texel_density_px_per_m": 20.0}, "texel_density", "fail", "PASS"),
    ("game", {"texel_density_px_per_m": float("inf")}, "texel_density", "fail", "PASS"),
]


def check(report, name):
    (found,) = [check for check in report.checks if check.name == name]
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_a_good_model_passes_every_profile(profile):
    report = judge(profile, GOOD)
    assert report.verdict == "PASS"
    assert {found.outcome for found in report.checks} == {"pass"}


@pytest.mark.parametrize(("profile", "different", "name", "outcome", "verdict"), CASES)
def test_each_rule_notices_what_it_is_for(profile, different, name, outcome, verdict):
    report = judge(profile, replace(GOOD, **different))
    assert check(report, name).outcome == outcome
    assert report.verdict == verdict


@pytest.mark.parametrize("profile", PROFILES)
def test_a_model_that_nobody_measured_fails(profile):
    report = judge(profile, DeliveryFacts())
    assert report.verdict == "FAIL"
    assert {found.outcome for found in report.checks} == {"unknown"}


def test_what_was_mended_is_told_with_its_value_before():
    fix = AppliedFix(fact="watertight", before=False, step="repaired_mesh", done="3 holes filled")
    report = judge("print", GOOD, [fix])
    found = check(report, "watertight")
    assert report.verdict == "FIXED"
    assert (found.outcome, found.before, found.value) == ("fixed", False, True)
    assert found.done == "repaired_mesh: 3 holes filled"


def test_what_was_tried_and_did_not_help_still_fails():
    fix = AppliedFix(fact="watertight", before=False, step="repaired_mesh", done="3 of 4 holes filled")
    report = judge("print", replace(GOOD, watertight=False), [fix])
    assert report.verdict == "FAIL"
    assert "3 of 4 holes" in check(report, "watertight").done


def test_a_change_of_something_that_was_good_before_is_no_fix():
    fix = AppliedFix(fact="faces", before=30_000, step="repaired_mesh", done="simplified")
    assert judge("web", GOOD, [fix]).verdict == "PASS"


def test_a_mended_warning_makes_the_verdict_fixed_and_an_open_error_fails_it():
    fix = AppliedFix(fact="components", before=9, step="repaired_mesh", done="8 crumbs removed")
    assert judge("print", GOOD, [fix]).verdict == "FIXED"
    assert judge("print", replace(GOOD, manifold=False), [fix]).verdict == "FAIL"


def test_fixes_are_found_by_comparing_two_measurements():
    before = replace(GOOD, faces=400_000, watertight=False, thinnest_m=None)
    fixes = fixes_between(before, GOOD, step="repaired_mesh", done={"watertight": "1 hole filled"})
    assert [(fix.fact, fix.before) for fix in fixes] == [("faces", 400_000), ("watertight", False)]
    assert judge("web", GOOD, fixes).verdict == "FIXED"
    assert check(judge("print", GOOD, fixes), "watertight").done == "repaired_mesh: 1 hole filled"


def test_a_fix_of_a_fact_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="beauty"):
        AppliedFix(fact="beauty", before=None, step="none", done="nothing")


def test_the_report_as_json_is_stable_and_plain():
    report = judge("print", replace(GOOD, thinnest_m=float("nan"), watertight=False))
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert list(told) == [
        "version", "profile", "verdict", "summary", "errors", "warnings", "unknown", "fixed", "checks",
    ]  # fmt: skip
    assert (told["verdict"], told["errors"], told["unknown"]) == ("FAIL", 1, 2)
    assert set(told["checks"][0]) == {
        "name", "sentence", "severity", "outcome", "value", "unit", "limit", "at_least", "at_most",
        "before", "done", "hint", "reason",
    }  # fmt: skip


def test_the_table_says_value_limit_and_what_to_do():
    text = judge("print", replace(GOOD, thinnest_m=0.0005)).as_text()
    (line,) = [line for line in text.splitlines() if "thick_enough" in line]
    assert line.startswith("FAIL")
    assert "0.5 mm" in line
    assert "at least 0.8 mm" in line
    assert "size_m" in line
    assert text.startswith("print: FAIL (1 error, 1 warning)")
    assert judge("print", DeliveryFacts()).summary == "print: FAIL (13 not measured)"


def test_nothing_that_a_step_says_can_break_the_page():
    evil = "x | y\n| <script>alert(1)</script> [a](javascript:b) `c`"
    report = judge("print", GOOD, [AppliedFix(fact="manifold", before=False, step="s", done=evil)])
    table = report.as_markdown()
    assert "<script>" not in table
    (line,) = [line for line in table.splitlines() if "manifold" in line]
    assert line.replace("\\|", "").count("|") == 6
    assert "[a]" not in line


FACT_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**9), st.floats(allow_nan=True, allow_infinity=True)
)


@given(
    st.fixed_dictionaries(
        {field.name: FACT_VALUES for field in fields(DeliveryFacts) if field.name != "extents_m"}
    )
)
@settings(max_examples=40, deadline=None)
def test_whatever_was_measured_there_is_an_honest_report(values):
    facts = DeliveryFacts(**values)
    for profile in PROFILES:
        report = judge(profile, facts)
        bad = [
            found
            for found in report.checks
            if found.severity == "error" and found.outcome in ("fail", "unknown")
        ]
        assert (report.verdict == "FAIL") == bool(bad)
        json.dumps(report.as_json(), allow_nan=False)
        assert report.as_text()
        assert report.as_markdown()
