import dagster as dg
import psycopg
import pytest
from sqlalchemy import Engine, event, text

from pipeline3d.launch import lean_storage, postgres_pool
from pipeline3d.launch.pooled_storage import PooledPostgresStorage
from pipeline3d.launch.postgres_pool import PoolSettings
from pipeline3d_tests.integration.launch.dagster_fixtures import (
    NO_LOGS,
    POOLED,
    build_job,
    execute,
    write_home,
)

STOCK = """
storage:
  postgres:
    postgres_url: {env: DAGSTER_PG_URL}
"""


@pytest.fixture
def statements():
    """The statements that this process sends."""
    sent = []

    def note(_connection, _cursor, statement, *_):
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture
def url(fresh_database, dagster_template):
    yield fresh_database(dagster_template).replace("postgresql:", "postgresql+psycopg2:")
    postgres_pool.dispose_engines()


@pytest.fixture
def storage(url):
    return PooledPostgresStorage(url, pool=PoolSettings(), connect_patience_s=5)


def traces_of_a_run(url, home, block, monkeypatch):
    """What a run of three assets leaves in Dagster's tables, without ids and times."""
    monkeypatch.setenv("DAGSTER_PG_URL", url)
    with dg.DagsterInstance.from_config(str(write_home(home, block, NO_LOGS))) as instance:
        run = execute(instance, build_job(), key="k1")
        assert run.is_success
    with psycopg.connect(url.replace("+psycopg2", "")) as connection:
        kinds = "SELECT dagster_event_type, step_key, asset_key, partition FROM event_logs ORDER BY id"
        tags = "SELECT asset_key, key FROM asset_event_tags ORDER BY 1, 2"
        assets = (
            "SELECT asset_key, last_run_id = %s, last_materialization IS NULL,"
            " last_materialization_timestamp = (SELECT max(timestamp) FROM event_logs AS event"
            "   WHERE event.asset_key = asset_keys.asset_key"
            "   AND dagster_event_type = 'ASSET_MATERIALIZATION')"
            " FROM asset_keys ORDER BY 1"
        )
        return {
            "events": connection.execute(kinds).fetchall(),
            "tags": connection.execute(tags).fetchall(),
            "assets": connection.execute(assets, [run.run_id]).fetchall(),
        }


@pytest.mark.parametrize("batch_size", ["0", "50"])
def test_a_run_leaves_the_same_traces_as_with_dagsters_own_storage(
    fresh_database, dagster_template, tmp_path, monkeypatch, batch_size
):
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", batch_size)
    urls = [fresh_database(dagster_template) for _ in range(2)]
    stock_url, our_url = (url.replace("postgresql:", "postgresql+psycopg2:") for url in urls)
    stock = traces_of_a_run(stock_url, tmp_path / "stock", STOCK, monkeypatch)
    ours = traces_of_a_run(our_url, tmp_path / "ours", POOLED, monkeypatch)
    postgres_pool.dispose_engines()
    assert ours == stock
    assert len(ours["assets"]) == 3


def test_a_run_sends_less_than_half_of_the_statements_and_no_notification(
    url, tmp_path, monkeypatch, statements
):
    monkeypatch.setenv("DAGSTER_PG_URL", url)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "50")
    job = build_job()
    with dg.DagsterInstance.from_config(str(write_home(tmp_path, POOLED, NO_LOGS))) as instance:
        execute(instance, job)
        statements.clear()
        during_creation = []
        execute(instance, job, on_run=lambda _: during_creation.append(len(statements)))
    assert during_creation[0] <= 10
    assert len(statements) - during_creation[0] <= 45  # Dagster's own storage: 92
    assert not [statement for statement in statements if "NOTIFY" in statement or "pg_catalog" in statement]


def test_planned_assets_that_two_runs_share_belong_to_the_later_run(url, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_PG_URL", url)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "50")
    job = build_job()
    with dg.DagsterInstance.from_config(str(write_home(tmp_path, POOLED, NO_LOGS))) as instance:
        instance.add_dynamic_partitions("things", ["a", "b"])
        for key in ("a", "b"):
            run = instance.create_run_for_job(job, tags={"dagster/partition": key})
        [record] = instance.get_asset_records([dg.AssetKey("second")])
        assert record.asset_entry.last_run_id == run.run_id
        planned = instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        )
        assert [entry.partition_key for entry in planned.records] == ["b", "b", "b"]


def test_a_table_that_was_missing_is_looked_for_again_and_one_that_was_there_is_not(storage, statements):
    events = storage.event_log_storage
    assert events.has_table("later") is False
    with storage.run_storage.connect() as connection:
        connection.execute(text("CREATE TABLE later (i int)"))
    assert events.has_table("later") is True
    statements.clear()
    assert events.has_table("later") is True
    assert statements == []


def test_what_is_known_of_one_database_is_not_believed_of_another(fresh_database, dagster_template, storage):
    assert storage.event_log_storage.has_table("event_logs") is True
    other = PooledPostgresStorage(fresh_database(dagster_template), pool=PoolSettings(), connect_patience_s=5)
    assert other.event_log_storage.has_table("later") is False
    with storage.run_storage.connect() as connection:
        connection.execute(text("CREATE TABLE later (i int)"))
    assert storage.event_log_storage.has_table("later") is True
    assert other.event_log_storage.has_table("later") is False


def test_a_partition_that_is_deleted_here_is_gone_at_once(storage):
    events = storage.event_log_storage
    assert events.has_dynamic_partition("things", "k") is False
    events.add_dynamic_partitions("things", ["k"])
    assert events.has_dynamic_partition("things", "k") is True
    events.delete_dynamic_partition("things", "k")
    assert events.has_dynamic_partition("things", "k") is False


def test_a_partition_that_is_deleted_elsewhere_is_gone_when_its_time_is_over(storage, url, monkeypatch):
    events = storage.event_log_storage
    events.add_dynamic_partitions("things", ["k"])
    assert events.has_dynamic_partition("things", "k") is True
    with psycopg.connect(url.replace("+psycopg2", ""), autocommit=True) as connection:
        connection.execute("DELETE FROM dynamic_partitions")
    assert events.has_dynamic_partition("things", "k") is True
    now = lean_storage.time.monotonic()
    monkeypatch.setattr(lean_storage.time, "monotonic", lambda: now + lean_storage.PARTITION_TRUSTED_S + 1)
    assert events.has_dynamic_partition("things", "k") is False


def test_only_so_many_partitions_are_remembered(storage, statements):
    events = storage.event_log_storage
    keys = [f"k{number}" for number in range(lean_storage.MOST_PARTITIONS_REMEMBERED + 1)]
    events.add_dynamic_partitions("things", keys)
    assert all(events.has_dynamic_partition("things", key) for key in keys)
    statements.clear()
    assert events.has_dynamic_partition("things", keys[-1]) is True
    assert statements == []
    assert events.has_dynamic_partition("things", keys[0]) is True
    assert len(statements) == 1
