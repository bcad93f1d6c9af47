"""Request to result: a request of three no-op assets through the whole system, beside RQ worker pairs.

Run `python -m benchmarks.orchestration`. Starts an installation and the yardstick in a folder of their own
and asks both in turn: one request at a time (idle), then bursts of many. A request begins with the INSERT of
its row and is done when the row says SUCCEEDED. CPU seconds are those of all processes of each side, Postgres
shared out by its own clock. Prints the tables and writes `benchmarks/results/orchestration.json`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil
from sqlalchemy import Engine, func, select, update

from benchmarks.installation import Installation
from benchmarks.reporting import bar, print_bars, write_report
from benchmarks.rq_yardstick import running_workers, work
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.tables import jobs, users
from pipeline3d.requests.creation import NewJob, create_job, new_job_id
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d.values import FINISHED_STATES, Family, JobState, Kind

if TYPE_CHECKING:
    from rq import Queue

IDLE_P50_BAR_S = 1.0
IDLE_P95_BAR_S = 2.0
THROUGHPUT_BAR = 1.0
WORKERS = 2
LOOK_S = 0.005
DEADLINE_S = 600.0
PARAMS = {"work_s": 0, "in_subprocess": False, "transient_failures": 0, "fails": False}
A_DAY_S = 86_400.0


@dataclass
class Side:
    """One of the two systems: how it is asked, and whose CPU time counts for it."""

    name: str
    ask: Callable[[], UUID]
    processes: Callable[[], Iterable[psutil.Process]]
    idle_s: list[float] = field(default_factory=list)
    burst_s: list[float] = field(default_factory=list)
    burst_cpu_s: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--idle", type=int, default=30, help="requests one at a time, on each side")
    options.add_argument("--burst", type=int, default=200, help="requests in a burst")
    options.add_argument("--bursts", type=int, default=5, help="bursts on each side")
    options.add_argument("--keep", type=Path, help="use this folder and keep it, for its logs")
    chosen = options.parse_args()
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="orchestration-"))
    try:
        report = measure(folder, idle=chosen.idle, burst=chosen.burst, bursts=chosen.bursts)
    finally:
        if chosen.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print_table(report)
    print_bars(report)
    write_report("orchestration", report)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def measure(folder: Path, *, idle: int, burst: int, bursts: int) -> dict[str, Any]:
    """Both sides, in turn, on one Postgres and the same cores."""
    with Installation.running(folder / "data", PIPELINE3D_WORKER_CONCURRENCY=str(WORKERS)) as installation:
        engine = create_sync_engine(installation.database_url)
        asker = Asker(engine)
        url = installation.database_url
        with (
            running_workers(url, folder / "rq", count=WORKERS) as plain,
            running_workers(url, folder / "rq-preloaded", count=WORKERS, preloaded=True) as preloaded,
        ):
            sides = [
                Side("pipeline3d", asker.create, installation.processes_without_servers),
                side_of_rq("rq", asker, *plain),
                side_of_rq("rq, preloaded", asker, *preloaded),
            ]
            for side in sides:
                run_burst(side, engine, installation, WORKERS * 2)  # first connections, first imports
                side.burst_s.clear()
                side.burst_cpu_s.clear()
            for _ in range(idle):
                for side in sides:
                    run_alone(side, engine)
            for _ in range(bursts):
                for side in sides:
                    run_burst(side, engine, installation, burst)
    return build_report(sides, burst)


def side_of_rq(name: str, asker: Asker, queue: Queue, processes: list[Popen[bytes]]) -> Side:
    """A pair of RQ workers, asked as their users ask them."""

    def ask() -> UUID:
        job_id = asker.create(held=True)
        queue.enqueue(work, str(job_id))
        return job_id

    return Side(name, ask, lambda: [psutil.Process(process.pid) for process in processes])


class Asker:
    """Creates requests as the API does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.connect() as connection:
            self._user_id = connection.execute(select(users.c.id).limit(1)).scalar_one()

    def create(self, *, held: bool = False) -> UUID:
        """A probe that does nothing; one that is `held` is leased, so that our dispatcher leaves it alone."""
        job = NewJob(
            id=new_job_id(),
            user_id=self._user_id,
            model_id="probe-v1",
            kind=Kind.PROBE,
            family=Family.PROBE_REQUESTS,
            prompt=None,
            input_params={},
            params=PARAMS,
        )
        with self._engine.begin() as connection:
            connection.execute(create_job(job))
            if held:
                lease = {"leased_at": func.now(), "lease_until": seconds_from_now(A_DAY_S)}
                connection.execute(update(jobs).where(jobs.c.id == job.id).values(lease))
        return job.id


def run_alone(side: Side, engine: Engine) -> None:
    """One request, and nothing else."""
    started = time.perf_counter()
    wait_until_done(engine, [side.ask()])
    side.idle_s.append(time.perf_counter() - started)
    # Not in step with anything that looks at intervals.
    time.sleep(0.2 + 0.3 * (len(side.idle_s) % 7) / 7)


def run_burst(side: Side, engine: Engine, installation: Installation, count: int) -> None:
    """Many requests at once; seconds until all are done, and CPU seconds of all who worked on them."""
    before = cpu_seconds(side.processes()), installation.cpu_seconds_of_postgres()
    started = time.perf_counter()
    wait_until_done(engine, [side.ask() for _ in range(count)])
    side.burst_s.append(time.perf_counter() - started)
    after = cpu_seconds(side.processes()), installation.cpu_seconds_of_postgres()
    side.burst_cpu_s.append(sum(after) - sum(before))


def wait_until_done(engine: Engine, job_ids: list[UUID]) -> None:
    """Return when all are finished. Raises RuntimeError where one did not succeed."""
    finished = select(func.count()).where(jobs.c.id.in_(job_ids), jobs.c.state.in_(FINISHED_STATES))
    failed = select(jobs.c.error_message).where(jobs.c.id.in_(job_ids), jobs.c.state != JobState.SUCCEEDED)
    deadline = time.monotonic() + DEADLINE_S
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.execute(finished).scalar_one() < len(job_ids):
            if time.monotonic() > deadline:
                raise RuntimeError("the requests are not done in time")
            time.sleep(LOOK_S if len(job_ids) == 1 else 20 * LOOK_S)
        problems = connection.execute(failed).scalars().all()
    if problems:
        raise RuntimeError(f"{len(problems)} requests did not succeed: {problems[0]}")


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """CPU time of processes and of their children that have ended."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def build_report(sides: list[Side], burst: int) -> dict[str, Any]:
    """Rows for all sides, ours first and the yardstick second, and the three bars."""
    rows = [describe(side, burst) for side in sides]
    ratio = rows[0]["requests_per_minute"] / rows[1]["requests_per_minute"]
    bars = {
        "request_to_done_p50_s": bar(rows[0]["idle_p50_s"], IDLE_P50_BAR_S),
        "request_to_done_p95_s": bar(rows[0]["idle_p95_s"], IDLE_P95_BAR_S),
        "throughput_against_rq": bar(round(ratio, 3), THROUGHPUT_BAR, better="higher"),
    }
    return {"bars": bars, "rows": rows, "workers": WORKERS, "load_at_end": os.getloadavg()[0]}


def describe(side: Side, burst: int) -> dict[str, Any]:
    """The figures of one side."""
    spread = statistics.quantiles(side.idle_s, n=20) if len(side.idle_s) > 1 else side.idle_s * 19
    return {
        "system": side.name,
        "idle_p50_s": round(statistics.median(side.idle_s), 3),
        "idle_p95_s": round(spread[-1], 3),
        "requests_per_minute": round(60 * burst / statistics.median(side.burst_s), 1),
        "cpu_s_per_request": round(statistics.median(side.burst_cpu_s) / burst, 4),
        "idle_s": [round(seconds, 3) for seconds in side.idle_s],
        "burst_s": [round(seconds, 2) for seconds in side.burst_s],
    }


def print_table(report: dict[str, Any]) -> None:
    """The rows."""
    columns = ("idle_p50_s", "idle_p95_s", "requests_per_minute", "cpu_s_per_request")
    print(f"{'system':14}" + "".join(f"{column:>21}" for column in columns))
    for row in report["rows"]:
        print(f"{row['system']:14}" + "".join(f"{row[column]:>21}" for column in columns))


if __name__ == "__main__":
    main()
