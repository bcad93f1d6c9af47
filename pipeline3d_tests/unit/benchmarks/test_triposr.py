"""The benchmark runs on a tiny model; what it measures is not judged here, but that both ways agree is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.triposr import measure_distance
from benchmarks.triposr_dense import extract_densely
from pipeline3d_tests.tiny_triposr import MARKED_BODY, TINY, build_scene
from pipeline3d_tests.triposr_by_hand import query_field

ROOT = Path(__file__).parents[3]


def test_the_triposr_benchmark_compares_and_reports(tmp_path):
    out = tmp_path / "triposr.json"
    options = ["--tiny", "--repeat", "1", "--dense-repeat", "1", "--resolution", "48", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.triposr", *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert out.exists(), ran.stdout + ran.stderr
    report = json.loads(out.read_text())
    (row,) = report["rows"]
    assert row["vertices"] == row["dense_vertices"] > 500
    assert row["apart_voxels"] <= 0.01
    assert row["ours_s"] > 0 < row["dense_s"]
    wanted = {"after_forward_s", "peak_gb", "load_s", "bake_s", "apart_voxels_48"}
    assert wanted <= set(report["bars"])
    assert all(report["photo"][stage] > 0 for stage in ("first_load", "forward", "extract", "encode_glb"))


def test_the_yardstick_finds_the_surface_and_its_colours():
    scene = build_scene(TINY, MARKED_BODY)
    vertices, faces, colours = extract_densely(scene, 40)
    raw, wanted = query_field(scene, vertices.astype(np.float64))
    assert len(faces) > 1000
    assert np.abs(colours - wanted).max() < 1e-4
    assert np.median(np.abs(np.exp(raw + scene.density_bias) / scene.threshold - 1)) < 0.5


def test_distances_are_found_between_surfaces_of_other_counts():
    first = np.array([[0, 0, 0], [1, 0, 0]], np.float32)
    assert measure_distance(first, first + np.float32(0.5)) == np.float32(np.sqrt(0.75))
    assert measure_distance(first, np.vstack([first, [[1, 0.25, 0]]]).astype(np.float32)) == 0.25
