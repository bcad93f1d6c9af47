"""What a request costs in an installation that has seen a million, beside one that is new.

Run `python -m benchmarks.scale`. Two installations run side by side, one new and one filled by SQL, and are
asked in turn: one request at a time (wall), then bursts (CPU seconds of all processes, Postgres included).
Then the filled one, the other standing still, answers the API's questions and loads Dagster's page of an
asset. With `--noise` it is compared with itself. With `--data` the installation that runs on that folder is
filled instead of one of its own. Prints as it goes, writes `benchmarks/results/scale.json`.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import psycopg
from sqlalchemy import Engine

from benchmarks.asset_page import load_page
from benchmarks.installation import Installation
from benchmarks.orchestration import Asker, Side, cpu_seconds, run_alone, run_burst, wait_until_done
from benchmarks.reporting import bar, print_bars, write_report
from benchmarks.scale_filling import Size, fill_dagster, fill_jobs, fill_queue
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.local.state import load_state
from pipeline3d.values import STAGES_BY_ROUTE, Route

COST_BAR = 1.2
API_P99_BAR_S = 0.020
ASSET_PAGE_BAR_S = 2.0
WORKERS = 2
SIZES = (
    Size(name="10,000 partitions", partitions=10_000),
    Size(name="100,000 partitions", partitions=100_000, beyond_window=True),
    Size(name="1,000,000 requests", partitions=10_000, requests=1_000_000),
)
"""The first and the last are inside the window that the nightly prune keeps; the second is far beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured."""

    idle: int = 30
    burst: int = 40
    bursts: int = 6
    questions: int = 500
    backlog: int = 10_000
    page_loads: int = 10


@dataclass
class Place:
    """A running installation and how it is asked."""

    installation: Installation
    engine: Engine
    side: Side

    def again(self) -> Place:
        """The same installation with a clock of its own."""
        return replace(self, side=Side("itself", self.side.ask, self.side.processes))

    def cpu_seconds(self, program: str) -> float:
        """CPU time of one program and of Postgres, which no busy neighbour lengthens much."""
        own = cpu_seconds([psutil.Process(self.installation.pid_of(program))])
        return own + self.installation.cpu_seconds_of_postgres()

    @property
    def dagster_url(self) -> str:
        """Dagster's database, which is beside that of the jobs."""
        return self.installation.database_url.rpartition("/")[0] + "/dagster"


def main() -> None:
    """Measure, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shrink", type=int, default=1, help="divide every size and effort by this")
    options.add_argument("--only", action="append", help="names of sizes, instead of all")
    options.add_argument("--noise", action="store_true", help="compare the filled ones with themselves")
    options.add_argument("--data", type=Path, help="fill what runs on this folder, which is not stopped")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    sizes = [shrink_size(size, chosen.shrink) for size in SIZES if size.name in (chosen.only or [size.name])]
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        effort = shrink_effort(Effort(), chosen.shrink)
        report = measure(folder, sizes, effort, noise=chosen.noise, data=chosen.data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_bars(report)
    write_report("scale", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def shrink_size(size: Size, by: int) -> Size:
    """A smaller one of the same shape."""
    return replace(size, partitions=size.partitions // by, requests=size.requests // by)


def shrink_effort(effort: Effort, by: int) -> Effort:
    """Less of everything, but something of each."""
    return Effort(**{name: max(2, getattr(effort, name) // by) for name in effort.__dataclass_fields__})


def measure(
    folder: Path, sizes: list[Size], effort: Effort, *, noise: bool, data: Path | None = None
) -> dict[str, Any]:
    """Each size beside a new installation (or, for the noise, beside itself), and what each answers."""
    rows, answers, pages = [], [], []
    with nullcontext() if noise else running(folder / "new", "new") as new:
        for number, size in enumerate(sizes):
            with running(folder / f"filled-{number}", size.name, data) as filled:
                print(f"filling: {size.name}", flush=True)
                fill(filled, size)
                rows.append(compare(new or filled.again(), filled, effort))
                print_cost(rows[-1])
                with suspended(new):
                    pages.append({"size": size.name, "in_window": not size.beyond_window})
                    pages[-1] |= measure_page(filled, effort.page_loads)
                    print_page(pages[-1])
                    fill_queue(filled.installation.database_url, effort.backlog)
                    for answer in measure_api(filled, effort.questions):
                        answers.append({"size": size.name, **answer})
                        print_answer(answers[-1])
    return build_report(rows, answers, pages)


@contextmanager
def suspended(place: Place | None) -> Iterator[None]:
    """Its processes stand still: people who ask the other one have the machine for it alone."""
    processes = [] if place is None else place.installation.processes()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in reversed(processes):
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def running(folder: Path, name: str, data: Path | None = None) -> Iterator[Place]:
    """An installation that has done its first requests, which pay for connections and imports.

    It is started on `folder`, and stopped at the end, unless one runs on `data`.
    """
    variables = {"PIPELINE3D_WORKER_CONCURRENCY": str(WORKERS)}
    started = nullcontext(Installation(data)) if data else Installation.running(folder, **variables)
    with started as installation:
        engine = create_sync_engine(installation.database_url)
        side = Side(name, Asker(engine).create, installation.processes_without_servers)
        place = Place(installation, engine, side)
        try:
            run_burst(side, engine, installation, WORKERS * 2)
            yield place
        finally:
            engine.dispose()


def fill(place: Place, size: Size) -> None:
    """Years of use, modelled on one real request."""
    model = place.side.ask()
    wait_until_done(place.engine, [model])
    keys = fill_jobs(place.installation.database_url, size)
    fill_dagster(place.dagster_url, keys, like=model, whole_runs=size.whole_runs)


def compare(new: Place, filled: Place, effort: Effort) -> dict[str, Any]:
    """Wall and CPU seconds of a request in both, asked in turn."""
    places = (new, filled)
    for place in places:
        run_burst(place.side, place.engine, place.installation, WORKERS * 2)  # caches of the new size
        place.side.idle_s.clear()
        place.side.burst_s.clear()
        place.side.burst_cpu_s.clear()
    for _ in range(effort.idle):
        for place in places:
            run_alone(place.side, place.engine)
    for _ in range(effort.bursts):
        for place in places:
            run_burst(place.side, place.engine, place.installation, effort.burst)
    row: dict[str, Any] = {"size": filled.side.name}
    for name, place in (("new", new), ("filled", filled)):
        side = place.side
        row[f"{name}_wall_s"] = round(statistics.median(side.idle_s), 4)
        row[f"{name}_burst_s"] = round(statistics.median(side.burst_s) / effort.burst, 4)
        row[f"{name}_cpu_s"] = round(statistics.median(side.burst_cpu_s) / effort.burst, 4)
        row[f"{name}_idle_s"] = [round(seconds, 3) for seconds in side.idle_s]
        row[f"{name}_bursts_s"] = [round(seconds, 2) for seconds in side.burst_s]
    for what in ("wall", "burst", "cpu"):
        row[f"{what}_ratio"] = round(row[f"filled_{what}_s"] / row[f"new_{what}_s"], 3)
    return row


def measure_page(place: Place, loads: int) -> dict[str, Any]:
    """Seconds of the page of an asset, each time after a new partition, which makes Dagster count anew."""
    stages = STAGES_BY_ROUTE[Route.PROBE]
    address = place.installation.dagster_address
    load_page(address, stages[-1], stages)  # the webserver's own first time
    totals, spent = [], []
    slowest: dict[str, float] = {}
    for _ in range(loads):
        wait_until_done(place.engine, [place.side.ask()])
        before = place.cpu_seconds("webserver")
        total, seconds = load_page(address, stages[-1], stages)
        totals.append(total)
        spent.append(place.cpu_seconds("webserver") - before)
        slowest = {name: round(max(took, slowest.get(name, 0)), 3) for name, took in seconds.items()}
    return {
        "median_s": round(statistics.median(totals), 3),
        "slowest_s": round(max(totals), 3),
        "cpu_s": round(statistics.median(spent), 3),
        "queries_s": dict(sorted(slowest.items(), key=lambda item: -item[1])),
    }


def measure_api(place: Place, questions: int) -> list[dict[str, Any]]:
    """Seconds of the API's answers about one's own requests, over HTTP, one after the other."""
    with psycopg.connect(place.installation.database_url) as connection:
        mine = "SELECT id FROM jobs WHERE user_id = (SELECT id FROM users WHERE username = 'admin')"
        ended = [row[0] for row in connection.execute(f"{mine} AND completed_at IS NOT NULL")]
        waiting = [row[0] for row in connection.execute(f"{mine} AND state = 'QUEUED'")]
    draw = random.Random(1)
    api = httpx.Client(base_url=f"{place.installation.address}/api/v1/jobs", headers=sign_in(place))

    def path_of(job_ids: list[UUID]) -> Callable[[], str]:
        return lambda: f"/{draw.choice(job_ids)}"

    with api:
        return [
            {"question": question, **time_answers(place, api, path, questions)}
            for question, path in (
                ("a finished request", path_of(ended)),
                ("a request that waits, with its place", path_of(waiting)),
                ("the newest 50 requests", lambda: "/"),
            )
        ]


def sign_in(place: Place) -> dict[str, str]:
    """The header that opens the API to the first user."""
    state = load_state(place.installation.data)
    assert state is not None
    login = {"username": "admin", "password": state.superuser_password}
    answer = httpx.post(f"{place.installation.address}/api/v1/auth/login", json=login).raise_for_status()
    return {"x-api-key": answer.json()["api_key"]}


def time_answers(place: Place, api: httpx.Client, path: Callable[[], str], count: int) -> dict[str, float]:
    """Median and 99th percentile of the time to an answer, and the CPU time of one."""
    seconds = []
    before = place.cpu_seconds("api")
    for _ in range(count):
        asked = path()
        started = time.perf_counter()
        api.get(asked).raise_for_status()
        seconds.append(time.perf_counter() - started)
    spent = (place.cpu_seconds("api") - before) / count
    p99 = statistics.quantiles(seconds, n=100)[-1]
    return {
        "p50_s": round(statistics.median(seconds), 5),
        "p99_s": round(p99, 5),
        "cpu_s": round(spent, 5),
    }


def build_report(
    rows: list[dict[str, Any]], answers: list[dict[str, Any]], pages: list[dict[str, Any]]
) -> dict[str, Any]:
    """The rows and the bars; the page's bar is about what the nightly prune leaves."""
    bars = {
        f"{what}_against_new": bar(max(row[f"{what}_ratio"] for row in rows), COST_BAR)
        for what in ("wall", "cpu")
    }
    bars["api_p99_s"] = bar(max(row["p99_s"] for row in answers), API_P99_BAR_S)
    inside = [page["slowest_s"] for page in pages if page["in_window"]]
    if inside:
        bars["asset_page_s"] = bar(max(inside), ASSET_PAGE_BAR_S)
    return {"bars": bars, "rows": rows, "answers": answers, "pages": pages, "workers": WORKERS}


def print_cost(row: dict[str, Any]) -> None:
    """One size beside the new installation, in seconds of a request."""
    for what in ("wall", "burst", "cpu"):
        new, filled, ratio = (row[f"new_{what}_s"], row[f"filled_{what}_s"], row[f"{what}_ratio"])
        print(f"{row['size']:22}{what:6}{new:10.4f} s new{filled:10.4f} s filled{ratio:8.3f}", flush=True)


def print_page(row: dict[str, Any]) -> None:
    """The page of an asset, and the query that took longest."""
    name, seconds = next(iter(row["queries_s"].items()))
    print(f"{row['size']:22}asset page: median {row['median_s']} s, slowest {row['slowest_s']} s", end=" ")
    print(f"({name} {seconds} s), CPU {row['cpu_s']} s", flush=True)


def print_answer(row: dict[str, Any]) -> None:
    """One question to the API."""
    p50, p99, cpu = (row[name] * 1e3 for name in ("p50_s", "p99_s", "cpu_s"))
    print(f"{row['size']:22}{row['question']:40}", end="")
    print(f"median {p50:.1f} ms, p99 {p99:.1f} ms, CPU {cpu:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
