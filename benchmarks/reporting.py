"""What all benchmarks say and write: the machine, the revision, bars that hold or do not."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).parent / "results"


def bar(value: float, limit: float, *, better: Literal["lower", "higher"] = "lower") -> dict[str, Any]:
    """A figure and its bar."""
    holds = value <= limit if better == "lower" else value >= limit
    return {"value": value, "bar": limit, "better": better, "holds": holds}


def print_bars(report: dict[str, Any]) -> None:
    """One line for each bar."""
    for name, found in report["bars"].items():
        verdict = "holds" if found["holds"] else "DOES NOT HOLD"
        print(f"{name}: {found['value']:g} (bar {found['bar']:g}, {found['better']} is better): {verdict}")


def write_report(name: str, report: dict[str, Any], path: Path | None = None) -> None:
    """Write `benchmarks/results/NAME.json`, with the machine and the revision."""
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"machine": describe_machine(), "revision": read_revision(), **report}
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def describe_machine() -> str:
    """Processor, cores and interpreter."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


def read_revision() -> str:
    """The commit that was measured, or "unknown" outside a checkout."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return asked.stdout.strip() or "unknown"
