"""An installation that a prune can work on: both databases, a bucket and a Dagster instance."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.launch import postgres_pool
from pipeline3d_tests.integration.launch.dagster_fixtures import (
    NO_LOGS,
    POOLED,
    make_dagster_template,
    write_home,
)
from pipeline3d_tests.integration.resources.pruning_fixtures import AgedStore, Past
from pipeline3d_tests.servers import PostgresServer

RETENTION = "retention: {sensor: {purge_after_days: {skipped: 1}}}"


@pytest.fixture(scope="session")
def dagster_template(postgres_server: PostgresServer) -> str:
    """The name of a database with Dagster's tables, to be copied."""
    return make_dagster_template(postgres_server)


@pytest.fixture
def past(
    own_database_url,
    fresh_database,
    dagster_template,
    object_store_server,
    fresh_bucket,
    tmp_path,
    monkeypatch,
) -> Iterator[Past]:
    dagster_url = fresh_database(dagster_template)
    monkeypatch.setenv("DAGSTER_PG_URL", dagster_url.replace("postgresql://", "postgresql+psycopg2://"))
    server = object_store_server
    engine = create_sync_engine(own_database_url)
    home = write_home(tmp_path, POOLED, NO_LOGS, RETENTION)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Past(
            engine=engine,
            store=AgedStore(server.endpoint, server.access_key, server.secret_key, fresh_bucket),
            instance=instance,
            dagster_url=dagster_url,
        )
    engine.dispose()
    postgres_pool.dispose_engines()
