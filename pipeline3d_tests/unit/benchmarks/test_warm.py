"""The benchmark runs; what it measures is not judged here, what must be right is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_warm_benchmark_reports_every_bar(tmp_path):
    out = tmp_path / "warm.json"
    options = ["--requests", "3", "--load-s", "0.1", "--work-s", "0", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.warm", *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert out.exists(), ran.stderr
    bars = json.loads(out.read_text())["bars"]
    assert "warm: overhead of a request" in ran.stdout
    assert {name for name, found in bars.items() if found["holds"]} >= {
        "loads",
        "alternation_right",
        "most_resident_at_once",
        "next_after_kill_succeeds",
        "processes_left",
    }
    assert all(bars[name]["value"] > 0 for name in ("overhead_ms_median", "overhead_ms_worst"))
