"""The geometry benchmark runs; what it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.geometry import STAGES, WITH_TEXTURE, build_report, linearity
from benchmarks.geometry_models import make_model
from pipeline3d.geometry.measuring import measure

ROOT = Path(__file__).parents[3]


def test_the_stages_run_on_a_small_model_and_are_all_timed():
    command = [sys.executable, "-m", "benchmarks.geometry", "--stages", "--faces", "2000"]
    command += ["--texture-px", "64", "--repeat", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert tuple(found["seconds"]) == STAGES
    assert found["together_s"] > 0
    assert found["peak_gb"] > 0


@pytest.mark.parametrize("faces", [2_000, 20_000])
def test_the_model_is_closed_and_about_as_large_as_asked_for(faces):
    facts = measure(make_model(faces, 64))
    assert facts.watertight
    assert facts.faces == pytest.approx(faces, rel=0.1)
    assert facts.volume > 0


def test_a_cost_that_grows_with_the_faces_only_is_linear_whatever_it_costs_at_first():
    def found(faces: int, seconds: float) -> dict:
        return {"faces": faces, "seconds": dict.fromkeys(STAGES, seconds)}

    linear = {faces: found(faces, 5 + faces * 1e-6) for faces in (10, 100, 1000)}
    assert linearity(linear) == pytest.approx(1, abs=0.01)
    squared = {faces: found(faces, 5 + faces**2 * 1e-6) for faces in (10, 100, 1000)}
    assert linearity(squared) > 5


def test_simplifying_is_judged_against_the_fastest_library():
    def found(seconds: float, rms: float) -> dict:
        return {"seconds": seconds, "rms": rms, "maximum": rms, "faces": 1}

    report = build_report(
        {"together_s": 1, "peak_gb": 1},
        {},
        export={"ours": 1, "trimesh": 2, "ours_without_picture": 1, "trimesh_without_picture": 1},
        simplifying={"ours": found(3, 1), WITH_TEXTURE: found(4, 0.5), "quick": found(2, 2)},
    )
    assert report["simplifying"]["fastest"] == "quick"
    assert report["bars"]["simplify_against_fastest"]["value"] == 1.5
    assert report["bars"]["simplify_error_against_fastest"]["value"] == 0.5
    assert report["bars"]["simplify_against_same_work"]["value"] == 0.75
    assert report["bars"]["simplify_error_against_same_work"]["value"] == 2
