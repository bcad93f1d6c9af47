"""What is planned and not made is the same, whether Postgres compares the events or Dagster does."""

from __future__ import annotations

import dagster as dg
import psycopg
import pytest
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline3d.launch import postgres_pool
from pipeline3d.launch.pooled_storage import PooledPostgresStorage
from pipeline3d.launch.postgres_pool import PoolSettings

ASSET = dg.AssetKey("mesh")
PLANNED, MADE, OTHER = "ASSET_MATERIALIZATION_PLANNED", "ASSET_MATERIALIZATION", "ASSET_OBSERVATION"

events = st.tuples(
    st.sampled_from([PLANNED, PLANNED, MADE, MADE, OTHER]),
    st.sampled_from(["mesh", "mesh", "texture"]),
    st.sampled_from(["a", "b", "c", None]),
    st.sampled_from(["run-1", "run-2"]),
)


@pytest.fixture(scope="module")
def url(postgres_server, dagster_template):
    url = postgres_server.fresh_database(dagster_template)
    yield url
    postgres_pool.dispose_engines()
    postgres_server.drop_database(url)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(events, max_size=25), after=st.integers(0, 25), wiped=st.booleans())
def test_the_same_partitions_are_planned_and_not_made_as_dagster_says(url, history, after, wiped):
    storage = PooledPostgresStorage(url, pool=PoolSettings(), connect_patience_s=5).event_log_storage
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE event_logs, asset_keys RESTART IDENTITY")
        connection.execute(
            "INSERT INTO asset_keys (asset_key, wipe_timestamp) VALUES (%s, CASE WHEN %s THEN now() END)",
            (ASSET.to_string(), wiped),
        )
        for number, (kind, asset, partition, run_id) in enumerate(history):
            connection.execute(
                "INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, asset_key, partition)"
                " VALUES (%s, '', %s, now() + %s * interval '10 minutes', %s, %s)",
                (run_id, kind, number - 10, dg.AssetKey(asset).to_string(), partition),
            )
    name = "get_latest_asset_partition_materialization_attempts_without_materializations"
    for cursor in (None, after):
        ours = getattr(storage, name)(ASSET, after_storage_id=cursor)
        assert ours == getattr(SqlEventLogStorage, name)(storage, ASSET, after_storage_id=cursor)
