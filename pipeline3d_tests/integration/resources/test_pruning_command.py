"""The prune as people and Dagster start it: a command, a job, a schedule."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from unittest import mock

import dagster as dg
import pytest
from click.testing import CliRunner

from pipeline3d.cli import main
from pipeline3d.definitions import build_definitions
from pipeline3d.defs.pruning import PARTITION_SETS, build_run_config
from pipeline3d.requests.housekeeping import Housekeeper
from pipeline3d.requests.pruning import Retention
from pipeline3d.settings import Settings


@pytest.fixture
def environment(past, own_database_url, object_store_server, tmp_path, monkeypatch):
    """What an operator sets for an installation whose servers run elsewhere."""
    variables = {
        "DATABASE_URL": own_database_url,
        "DAGSTER_PG_URL": past.dagster_url.replace("postgresql://", "postgresql+psycopg2://"),
        "MINIO_ENDPOINT": object_store_server.endpoint,
        "MINIO_ACCESS_KEY": object_store_server.access_key,
        "MINIO_SECRET_KEY": object_store_server.secret_key,
        "MINIO_BUCKET": past.store.bucket,
        "LINK_SIGNING_KEY": "key",
        "PIPELINE3D_DATA_DIR": str(tmp_path / "data"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", "")  # what a developer has set must not be found
    # the sets of our own families, and a request that no row of the past knows
    past.instance.add_dynamic_partitions(PARTITION_SETS[0], [str(past.finished(400))])
    return variables


def prune(*options):
    """The command in this process, which sets variables as a command may and a test may not."""
    with mock.patch.dict(os.environ):
        return CliRunner().invoke(main, ["prune", *options], catch_exceptions=False)


def test_the_command_says_what_it_would_remove_and_then_removes_it(past, environment):
    said, done = prune("--dry-run"), prune()
    assert said.exit_code == done.exit_code == 0
    assert said.output.splitlines()[0] == "would be removed:"
    assert said.output.splitlines()[1:] == done.output.splitlines()[1:]
    assert "1 partitions" in done.output
    assert "results that no request names, 0.0 MB" in done.output
    assert past.instance.get_dynamic_partitions(PARTITION_SETS[0]) == []


def test_the_command_leaves_the_work_to_a_prune_that_is_at_it(past, environment):
    with Housekeeper(past.engine).alone():
        done = prune()
    assert "another prune is at work" in done.output
    assert len(past.instance.get_dynamic_partitions(PARTITION_SETS[0])) == 1


def test_the_job_prunes_by_what_its_run_was_told(past, environment):
    job = build_definitions(Settings(_env_file=None)).resolve_job_def("prune")
    for keep in (Retention(partition_days=500), Retention(partition_days=100)):
        config = build_run_config(keep)
        assert job.execute_in_process(instance=past.instance, run_config=config).success
        kept = past.instance.get_dynamic_partitions(PARTITION_SETS[0])
        assert len(kept) == (1 if keep.partition_days == 500 else 0)


def test_the_schedule_tells_each_run_what_the_installation_keeps():
    settings = Settings(
        _env_file=None, pipeline3d_keep_partitions_days=7, pipeline3d_prune_schedule="0 1 * * 0"
    )
    definitions = build_definitions(settings)
    schedule = definitions.resolve_schedule_def("nightly_prune")
    assert schedule.cron_schedule == "0 1 * * 0"
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 1, 4, 1, tzinfo=UTC))
    [request] = schedule.evaluate_tick(context).run_requests
    assert request.run_config["ops"]["remove_what_is_old"]["config"]["partition_days"] == 7
