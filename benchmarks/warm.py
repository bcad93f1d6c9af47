"""What a warm model costs a request, and whether warm models survive what happens to them.

Run `python -m benchmarks.warm`. The stand-in wrapper `fake_model` takes 3 s to load. Twenty requests go
through it as a run does it: the device's lease, the host of the models, the protocol, the output's check. The
overhead is what a request takes beyond the wrapper's own account of its work. Then two models that do not
fit together take turns, a resident is killed in the middle of a run, and for comparison a few requests start
the wrapper anew each. Prints the table and writes `benchmarks/results/warm.json`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import psutil

from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.errors import TransientFailure
from pipeline3d.generation.serving import (
    CPU,
    DeviceLedger,
    Mode,
    ModelHost,
    ModelSpec,
    RamGauge,
    Wrapper,
    WrapperModel,
    WrapperProgram,
    WrapperRequest,
    reduce_environment,
    run_request,
)

FAKE_MODEL = Path(__file__).parents[1] / "wrappers" / "fake_model" / "run.py"
MB = 1024**2
OVERHEAD_BAR_MS = 30.0
LARGE, BUDGET = 150 * MB, 250 * MB
"""Two models of this size do not fit in this budget together."""


class Site:
    """A folder with a host of models and a ledger of devices, as one worker's process has them."""

    def __init__(self, folder: Path, load_s: float) -> None:
        self.folder = folder
        self.load_s = load_s
        self.host = ModelHost(CPU, limit_bytes=BUDGET, gauge=RamGauge(), wait_s=60.0)
        self.ledger = DeviceLedger(folder / "devices")
        self._requests = 0

    def spec(self, key: str, *, holds: int = 0, mode: Mode = "resident") -> ModelSpec[Wrapper]:
        """The stand-in as a model that takes `load_s` to load."""
        program = WrapperProgram(
            name="fake",
            command=(sys.executable, str(FAKE_MODEL)),
            environment=reduce_environment(os.environ),
        )
        params = {"load_s": self.load_s, "load_memory_bytes": holds}
        return ModelSpec(
            key=key,
            open=lambda: WrapperModel(program, self.folder / f"{key}.log", mode=mode, load_params=params),
            weights_bytes=holds + 20 * MB,
            idle_s=0.0 if mode == "one_shot" else None,
        )

    def request(self, **params: Any) -> WrapperRequest:
        """A request with an empty output folder."""
        self._requests += 1
        output = self.folder / f"output{self._requests}"
        output.mkdir()
        return WrapperRequest(id=f"bench:{self._requests}", output_dir=output, params=params, seed=1)

    def run(self, spec: ModelSpec[Wrapper], **params: Any) -> dict[str, float]:
        """One request; milliseconds in all, of the wrapper's own work, and of what is left."""
        request = self.request(**params)
        began = time.perf_counter()
        with (
            self.ledger.hold(CPU, model=spec.key, reserved_bytes=spec.weights_bytes),
            self.host.use(spec) as use,
        ):
            warm = use.was_warm
            done = run_request(use, request)
        wall_ms = (time.perf_counter() - began) * 1000
        return {
            "wall_ms": wall_ms,
            "work_ms": done.seconds * 1000,
            "overhead_ms": wall_ms - done.seconds * 1000,
            "warm": float(warm),
            "loads": float(done.facts["loads"]),
        }


def main() -> None:
    """Measure, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=20)
    options.add_argument("--load-s", type=float, default=3.0)
    options.add_argument("--work-s", type=float, default=0.05)
    options.add_argument("--out", type=Path, default=None)
    chosen = options.parse_args()
    report = measure(chosen.requests, chosen.load_s, chosen.work_s)
    print_table(report)
    print_bars(report)
    write_report("warm", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def measure(requests: int, load_s: float, work_s: float) -> dict[str, Any]:
    """All parts, one after the other, each with processes of its own."""
    with site(load_s) as warm:
        rows, loads = measure_warm(warm, requests, work_s)
    with site(load_s) as turns:
        alternation = measure_turns(turns, rounds=3)
    with site(load_s) as killed:
        recovery = measure_kill(killed)
    with site(load_s) as cold:
        one_shot = measure_one_shot(cold, times=2, work_s=work_s, load_s=load_s)
    overheads = [row["overhead_ms"] for row in rows if row["warm"]]
    return {
        "requests": requests,
        "load_s": load_s,
        "rows": [
            describe("warm: overhead of a request", overheads),
            describe("warm: all of a request", [row["wall_ms"] for row in rows if row["warm"]]),
            describe("the first request, with the load", [row["wall_ms"] for row in rows if not row["warm"]]),
            describe("one-shot: all of a request", one_shot),
            describe("after kill -9: the next request", [recovery["next_ms"]]),
        ],
        "alternation": alternation,
        "recovery": recovery,
        "bars": {
            "loads": bar(loads, 1),
            "overhead_ms_median": bar(round(statistics.median(overheads), 2), OVERHEAD_BAR_MS),
            "overhead_ms_worst": bar(round(max(overheads), 2), OVERHEAD_BAR_MS),
            "alternation_right": bar(alternation["right"], alternation["requests"], better="higher"),
            "most_resident_at_once": bar(alternation["most_at_once"], 1),
            "next_after_kill_succeeds": bar(recovery["succeeds"], 1, better="higher"),
            "processes_left": bar(recovery["left"], 0),
        },
    }


@contextmanager
def site(load_s: float) -> Iterator[Site]:
    """A fresh site, whose models are ended with it."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        made = Site(Path(folder), load_s)
        try:
            yield made
        finally:
            made.host.close()


def measure_warm(site: Site, requests: int, work_s: float) -> tuple[list[dict[str, float]], int]:
    """The requests one after the other, and how often the wrapper says that it loaded."""
    spec = site.spec("fake")
    rows = [site.run(spec, work_s=work_s) for _ in range(requests)]
    counted = site.host.counts_of("fake").loads
    return rows, max(counted, int(max(row["loads"] for row in rows)))


def measure_turns(site: Site, rounds: int) -> dict[str, Any]:
    """Two models that do not fit together, asked for in turns; each request must be a model's own."""
    specs = [site.spec(key, holds=LARGE) for key in ("a", "b")]
    right, most = 0, 0
    for _ in range(rounds):
        for spec in specs:
            row = site.run(spec)
            residents = site.host.standing().residents
            most = max(most, len(residents))
            right += [resident.key for resident in residents] == [spec.key] and row["loads"] == 1
    return {"requests": 2 * rounds, "right": right, "most_at_once": most}


def measure_kill(site: Site) -> dict[str, Any]:
    """A resident is killed with signal 9 in the middle of a run; then the next request."""
    spec = site.spec("fake")
    site.run(spec)
    with site.host.use(spec) as use:
        processes = psutil.Process(use.model.pid).children(recursive=True)
    killer = Timer(0.5, processes[0].kill)
    killer.start()
    began = time.perf_counter()
    try:
        site.run(spec, work_s=60.0)
        code = "the killed run went on"
    except TransientFailure as failure:
        code = failure.code
    noticed_ms = (time.perf_counter() - began) * 1000 - 500
    row = site.run(spec)
    site.host.close()
    left = [process for process in psutil.Process().children(recursive=True) if process.is_running()]
    return {
        "killed_run": code,
        "noticed_ms": round(noticed_ms, 1),
        "next_ms": row["wall_ms"],
        "succeeds": int(code == "wrapper_died" and row["loads"] == 1),
        "left": len(left),
    }


def measure_one_shot(site: Site, *, times: int, work_s: float, load_s: float) -> list[float]:
    """Milliseconds of requests that start the wrapper anew each."""
    spec = site.spec("cold", mode="one_shot")
    return [site.run(spec, work_s=work_s, load_s=load_s)["wall_ms"] for _ in range(times)]


def describe(what: str, milliseconds: list[float]) -> dict[str, Any]:
    """Median, best and worst."""
    return {
        "what": what,
        "times": len(milliseconds),
        "median_ms": round(statistics.median(milliseconds), 2),
        "best_ms": round(min(milliseconds), 2),
        "worst_ms": round(max(milliseconds), 2),
    }


def print_table(report: dict[str, Any]) -> None:
    """The rows, in milliseconds."""
    columns = ("times", "median_ms", "best_ms", "worst_ms")
    print(f"{'':36}" + "".join(f"{column:>12}" for column in columns))
    for row in report["rows"]:
        print(f"{row['what']:36}" + "".join(f"{row[column]:12g}" for column in columns))


if __name__ == "__main__":
    main()
