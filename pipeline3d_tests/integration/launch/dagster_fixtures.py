"""Dagster instances on a Postgres of their own, and a job of three partitioned assets that do nothing."""

from __future__ import annotations

import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from pipeline3d.launch import postgres_pool
from pipeline3d.launch.pooled_storage import PooledPostgresStorage
from pipeline3d.launch.postgres_pool import PoolSettings
from pipeline3d_tests.servers import PostgresServer

POOLED = """
storage:
  custom:
    module: pipeline3d.launch.pooled_storage
    class: PooledPostgresStorage
    config:
      postgres_url: {env: DAGSTER_PG_URL}
"""
NO_LOGS = """
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
PARTITIONS = dg.DynamicPartitionsDefinition(name="things")


@dg.asset(partitions_def=PARTITIONS)
def first() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"size": 1})


@dg.asset(partitions_def=PARTITIONS, deps=[first])
def second() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"size": 2})


@dg.asset(partitions_def=PARTITIONS, deps=[second])
def third() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"size": 3})


THREE_ASSETS = [first, second, third]


def build_job(assets: list[dg.AssetsDefinition] | None = None) -> dg.JobDefinition:
    """A job of the assets, all in the calling process, with Dagster's logs left to the event log."""
    assets = assets or THREE_ASSETS
    unresolved = dg.define_asset_job(
        "everything", assets, executor_def=dg.in_process_executor, config={"loggers": {}}
    )
    definitions = dg.Definitions(assets=assets, jobs=[unresolved], loggers={})
    return definitions.resolve_job_def("everything")


def write_home(home: Path, *blocks: str) -> Path:
    """A DAGSTER_HOME with a dagster.yaml of these blocks."""
    home.mkdir(parents=True, exist_ok=True)
    text = "telemetry: {enabled: false}\n" + "\n".join(textwrap.dedent(block) for block in blocks)
    (home / "dagster.yaml").write_text(text)
    return home


def make_dagster_template(server: PostgresServer) -> str:
    """The name of a new database with Dagster's tables, to be copied; made without a process of Dagster's."""
    url = server.fresh_database()
    PooledPostgresStorage(url, pool=PoolSettings(), connect_patience_s=5)
    postgres_pool.dispose_engines()
    return url.rsplit("/", 1)[-1]


def execute(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    *,
    key: str | None = None,
    on_run: Callable | None = None,
) -> dg.DagsterRun:
    """Run the job for a new partition in this process; the finished run."""
    key = key or uuid.uuid4().hex
    instance.add_dynamic_partitions("things", [key])
    run = instance.create_run_for_job(job, tags={"dagster/partition": key})
    if on_run:
        on_run(run)
    for _event in execute_run_iterator(InMemoryJob(job), run, instance):
        pass
    finished = instance.get_run_by_id(run.run_id)
    assert finished is not None
    return finished
