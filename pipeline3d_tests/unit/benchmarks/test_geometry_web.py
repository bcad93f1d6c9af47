"""The benchmark runs without npm; what it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.geometry_web import judge

ROOT = Path(__file__).parents[3]


def test_the_web_benchmark_reports_our_own_figures_without_the_yardstick(tmp_path):
    out = tmp_path / "geometry_web.json"
    options = ["--photo-px", "128", "--quality", "fast", "--repeat", "1", "--without-yardstick"]
    command = [sys.executable, "-m", "benchmarks.geometry_web", *options, "--out", str(out)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    report = json.loads(out.read_text())
    assert "share_of_plain_all_faces" in ran.stdout
    sides = {"ours, in process", "ours, as a command", "ours, Draco"}
    assert {row["side"] for row in report["rows"]} == sides
    assert all(row["seconds"] > 0 and row["bytes"] > 0 for row in report["rows"])
    assert set(report["bars"]) == {"share_of_plain_all_faces", "share_of_plain_faces_joined"}


def test_the_yardstick_is_judged_by_size_and_time_of_the_same_way():
    rows = [
        {"side": side, "way": way, "bytes": size, "seconds": seconds}
        for way in ("all faces", "faces joined")
        for side, size, seconds in (
            ("ours, in process", 120, 0.5),
            ("ours, as a command", 120, 1.5),
            ("gltf-transform optimize", 100, 1.0),
        )
    ]
    bars = judge(rows, plain_bytes=400)
    held = {name: found["holds"] for name, found in bars.items() if name.endswith("all_faces")}
    assert held == {
        "share_of_plain_all_faces": True,
        "size_to_yardstick_all_faces": False,
        "process_time_to_yardstick_all_faces": True,
        "command_time_to_yardstick_all_faces": False,
    }
