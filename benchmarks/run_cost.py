"""What a run of three assets costs its worker, by how Dagster stores it and captures its output.

Run `python -m benchmarks.run_cost`. Everything happens in this process, as in a worker: a run is created,
then executed by the in-process executor, against an embedded Postgres and object store. The ways alternate,
so that a busy moment hits them all, and the best of `--repeat` runs counts. The bar is about compute logs:
what capturing adds to a run, at most 50 ms. Prints the table and writes `benchmarks/results/run_cost.json`.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.local.ports import choose_free_ports
from pipeline3d_tests.integration.launch.dagster_fixtures import build_job, execute, write_home
from pipeline3d_tests.servers import ObjectStoreServer, PostgresServer

CAPTURE_BAR_MS = 50.0
STORAGES = {
    "stock": "storage: {postgres: {postgres_url: {env: DAGSTER_PG_URL}}}",
    "pooled": """
storage:
  custom:
    module: pipeline3d.launch.pooled_storage
    class: PooledPostgresStorage
    config: {postgres_url: {env: DAGSTER_PG_URL}}
""",
}
LOGS = {
    "none": """
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
""",
    "stock": """
compute_logs:
  module: dagster._core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config: {base_dir: {env: PIPELINE3D_COMPUTE_LOGS_DIR}}
""",
    "ours": """
compute_logs:
  module: pipeline3d.launch.compute_logs
  class: StoredComputeLogs
  config: {local_dir: {env: PIPELINE3D_COMPUTE_LOGS_DIR}}
""",
}
counts: Counter[str] = Counter()


@dataclass
class Way:
    """One way to run, and what it cost so far."""

    name: str
    storage: str
    logs: str
    batch_size: int = 0
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    create_statements: list[int] = field(default_factory=list)


WAYS = (
    Way("Dagster's own", storage="stock", logs="stock"),
    Way("  without logs", storage="stock", logs="none"),
    Way("pooled, without logs", storage="pooled", logs="none"),
    Way("  events in batches", storage="pooled", logs="none", batch_size=50),
    Way("  Dagster's logs", storage="pooled", logs="stock", batch_size=50),
    Way("  logs in the store", storage="pooled", logs="ours", batch_size=50),
)


def main() -> None:
    """Measure, print, write; exits with 1 where the bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeat", type=int, default=20, help="runs in each way")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="run-cost-") as folder:
        os.chmod(folder, 0o755)  # Postgres runs as another user
        measure(Path(folder), chosen.repeat)
    report = build_report()
    print_table(report)
    print_bars(report)
    write_report("run_cost", report)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def measure(folder: Path, repeat: int) -> None:
    """Fill the ways with the costs of `repeat` runs each."""
    event.listen(Engine, "before_cursor_execute", lambda *_: counts.update(["statements"]))
    event.listen(Pool, "connect", lambda *_: counts.update(["connections"]))
    job = build_job()
    with ExitStack() as stack:
        postgres, objects = stack.enter_context(running_servers(folder))
        os.environ |= {
            "MINIO_ENDPOINT": objects.endpoint,
            "MINIO_ACCESS_KEY": objects.access_key,
            "MINIO_SECRET_KEY": objects.secret_key,
            "MINIO_BUCKET": objects.fresh_bucket(),
            "MINIO_SECURE": "false",
            "PIPELINE3D_COMPUTE_LOGS_DIR": str(folder / "logs"),
        }
        # Dagster's console lines are part of a run, but not of this table.
        stack.enter_context(errors_in(folder / "console.log"))
        instances = {}
        for number, way in enumerate(WAYS):
            os.environ["DAGSTER_PG_URL"] = postgres.fresh_database().replace(
                "postgresql:", "postgresql+psycopg2:"
            )
            home = write_home(folder / f"home{number}", STORAGES[way.storage], LOGS[way.logs])
            instances[way.name] = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        for turn in range(repeat + 1):
            for way in WAYS:
                run_once(way, instances[way.name], job, counted=turn > 0)


def run_once(way: Way, instance: dg.DagsterInstance, job: dg.JobDefinition, *, counted: bool) -> None:
    """Create and execute one run; what is counted begins where a worker takes it."""
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = str(way.batch_size)
    began: list[tuple[float, float, int]] = []

    def begin(_run: dg.DagsterRun) -> None:
        began.append((time.perf_counter(), time.process_time(), counts["statements"]))
        counts.clear()

    counts.clear()
    assert execute(instance, job, on_run=begin).is_success
    [(wall, cpu, create_statements)] = began
    if counted:
        way.wall_ms.append((time.perf_counter() - wall) * 1000)
        way.cpu_ms.append((time.process_time() - cpu) * 1000)
        way.statements.append(counts["statements"])
        way.connections.append(counts["connections"])
        way.create_statements.append(create_statements)


@contextmanager
def running_servers(folder: Path) -> Iterator[tuple[PostgresServer, ObjectStoreServer]]:
    """An embedded Postgres, with durability on, and an embedded object store."""
    ports = choose_free_ports(["postgres", "objects"])
    postgres = PostgresServer(directory=folder / "postgres", port=ports["postgres"], durable=True)
    objects = ObjectStoreServer(directory=folder / "objects", port=ports["objects"])
    postgres.start()
    objects.start()
    try:
        yield postgres, objects
    finally:
        postgres.server.stop()
        objects.server.stop()


@contextmanager
def errors_in(path: Path) -> Iterator[None]:
    """What is written to standard error goes to a file, as in a supervised worker."""
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def build_report() -> dict[str, Any]:
    """The best run of each way, and what our capture adds to it."""
    rows = [
        {
            "way": way.name,
            "wall_ms": round(min(way.wall_ms), 1),
            "cpu_ms": round(min(way.cpu_ms), 1),
            "statements": statistics.median(way.statements),
            "connections": statistics.median(way.connections),
            "create_statements": statistics.median(way.create_statements),
        }
        for way in WAYS
    ]
    without, ours = WAYS[3], WAYS[5]
    added = round(min(ours.wall_ms) - min(without.wall_ms), 1)
    return {"rows": rows, "bars": {"capture_ms": bar(added, CAPTURE_BAR_MS, better="lower")}}


def print_table(report: dict[str, Any]) -> None:
    """The rows; times in milliseconds."""
    columns = ("wall_ms", "cpu_ms", "statements", "connections", "create_statements")
    print(f"{'':24}" + "".join(f"{column:>19}" for column in columns))
    for row in report["rows"]:
        print(f"{row['way']:24}" + "".join(f"{row[column]:19g}" for column in columns))


if __name__ == "__main__":
    logging.getLogger("alembic").setLevel(logging.WARNING)
    main()
