"""The benchmark runs; what it measures is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_inflate_benchmark_reports_every_stage(tmp_path):
    out = tmp_path / "inflate.json"
    options = ["--size", "128", "--repeat", "1", "--quality", "balanced", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.inflate", *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    report = json.loads(out.read_text())
    assert "photo_to_glb_balanced_s" in ran.stdout
    assert {row["quality"] for row in report["rows"]} == {"balanced"}
    assert all(row[stage] > 0 for row in report["rows"] for stage in ("cut_out", "inflate", "total"))
    assert set(report["bars"]["photo_to_glb_balanced_s"]) == {"value", "bar", "better", "holds"}
