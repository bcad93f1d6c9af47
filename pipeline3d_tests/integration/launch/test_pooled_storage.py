import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import psutil
import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy import Engine, event, text
from sqlalchemy.pool import Pool

from pipeline3d.database import resting_connections
from pipeline3d.launch import dagster_storage, postgres_pool
from pipeline3d.launch.pooled_storage import PooledPostgresStorage
from pipeline3d.launch.postgres_pool import PoolSettings
from pipeline3d.local.ports import choose_free_ports
from pipeline3d_tests.integration.launch.dagster_fixtures import (
    NO_LOGS,
    POOLED,
    build_job,
    execute,
    write_home,
)
from pipeline3d_tests.servers import PostgresServer, wait_until


@pytest.fixture
def url(fresh_database, dagster_template):
    yield fresh_database(dagster_template)
    postgres_pool.dispose_engines()


@pytest.fixture
def make_storage(url):
    def make(*, patience_s=5, **pool):
        return PooledPostgresStorage(url, pool=PoolSettings(**pool), connect_patience_s=patience_s)

    return make


@pytest.fixture
def counted():
    """Connections opened and statements sent by this process."""
    counts = Counter()

    def count_connection(*_):
        counts["connections"] += 1

    def count_statement(*_):
        counts["statements"] += 1

    event.listen(Engine, "before_cursor_execute", count_statement)
    event.listen(Pool, "connect", count_connection)
    yield counts
    event.remove(Engine, "before_cursor_execute", count_statement)
    event.remove(Pool, "connect", count_connection)


def backend_of(storage):
    """The process id of the server process that answers."""
    with storage.run_storage.connect() as connection:
        return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


def backends_on(url):
    """How many connections of the storage the server has for this database."""
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        return connection.execute(query).fetchone()[0] - 1


def end_backends(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_run_opens_no_connection_once_the_process_has_one(url, tmp_path, monkeypatch, counted):
    monkeypatch.setenv("DAGSTER_PG_URL", url)
    job = build_job()
    with dg.DagsterInstance.from_config(str(write_home(tmp_path, POOLED, NO_LOGS))) as instance:
        assert execute(instance, job).is_success
        counted.clear()
        assert execute(instance, job).is_success
        assert counted["connections"] == 0
        assert counted["statements"] > 0
        assert backends_on(url) <= 2


def test_storages_of_one_process_share_their_connections(make_storage, url):
    backends = {backend_of(make_storage()) for _ in range(4)}
    assert len(backends) == 1
    assert backends_on(url) == 1


def test_a_connection_that_the_server_ended_is_replaced_unnoticed(make_storage, url):
    storage = make_storage()
    before = backend_of(storage)
    end_backends(url)
    assert storage.run_storage.get_runs_count() == 0
    assert backend_of(storage) != before


def test_a_connection_in_use_when_the_server_ends_it_is_replaced_for_the_next_statement(make_storage, url):
    storage = make_storage()
    with storage.run_storage.connect() as connection:
        end_backends(url)
        with pytest.raises(sqlalchemy.exc.OperationalError):
            connection.execute(text("SELECT 1"))
    assert storage.run_storage.get_runs_count() == 0


def test_a_connection_that_rested_long_is_asked_first(make_storage, monkeypatch):
    storage = make_storage()
    before = backend_of(storage)
    monkeypatch.setattr(resting_connections, "_answers", lambda *_: False)
    assert backend_of(storage) == before  # trusted: it rested for a moment only
    monkeypatch.setattr(resting_connections, "TRUSTED_IDLE_S", 0.0)
    assert backend_of(storage) != before


def test_many_threads_get_connections_at_once_and_give_the_surplus_back(make_storage, url):
    storage = make_storage(pool_size=2, max_overflow=8)
    together = threading.Barrier(10)

    def work():
        with storage.event_log_storage.index_connection() as connection:
            together.wait(20)
            return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()

    with ThreadPoolExecutor(10) as threads:
        backends = {task.result() for task in [threads.submit(work) for _ in range(10)]}
    assert len(backends) == 10
    assert backends_on(url) == 2


def test_a_statement_that_takes_too_long_is_ended(make_storage):
    storage = make_storage(statement_timeout_ms=50)
    with pytest.raises(sqlalchemy.exc.OperationalError, match="statement timeout"):  # noqa: SIM117
        with storage.run_storage.connect() as connection:
            connection.execute(text("SELECT pg_sleep(20)"))


def limit_of(storage):
    with storage.connect() as connection:
        return connection.execute(text("SHOW statement_timeout")).scalar_one()


def test_a_migration_is_never_cut_short_but_other_statements_are(make_storage):
    storage = make_storage(statement_timeout_ms=50)
    storage.run_storage.upgrade()
    assert limit_of(storage.run_storage) == "0"
    assert limit_of(storage.schedule_storage) == "50ms"


def test_the_webserver_sets_its_own_limit_and_keeps_the_pool(make_storage, counted):
    storage = make_storage()
    for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
        part.optimize_for_webserver(statement_timeout=1500, pool_recycle=60, max_overflow=3)
    assert limit_of(storage.run_storage) == "1500ms"
    counted.clear()
    assert limit_of(storage.schedule_storage) == "1500ms"
    assert counted["connections"] == 0


def in_forked_child(question):
    """What `question()` says in a child of this process, as text; the child ends without any clean-up."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(question()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_connections_alone(make_storage):
    storage = make_storage()
    parents = backend_of(storage)
    childs = in_forked_child(lambda: backend_of(storage))
    assert childs.isdecimal()
    assert int(childs) != parents
    assert backend_of(storage) == parents


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_another_thread_uses_the_pool_still_connects(make_storage):
    storage = make_storage(pool_size=1, max_overflow=0)
    lent, finished = threading.Event(), threading.Event()

    def hold():
        with storage.run_storage.connect():
            lent.set()
            finished.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    lent.wait(20)
    said = in_forked_child(lambda: backend_of(storage))
    finished.set()
    holder.join()
    assert said.isdecimal()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_any_spelling_of_the_address_works(url, scheme):
    spelled = url.replace("postgresql", scheme)
    storage = PooledPostgresStorage(spelled, pool=PoolSettings(), connect_patience_s=5)
    assert storage.run_storage.get_runs_count() == 0


def test_the_migration_command_finds_the_storage_and_makes_the_tables(fresh_database, tmp_path):
    url = fresh_database()
    environment = {
        "DAGSTER_HOME": str(write_home(tmp_path, POOLED, NO_LOGS)),
        "DAGSTER_PG_URL": url,
    }
    assert dagster_storage.migrate_dagster(url, environment) is True
    assert dagster_storage.migrate_dagster(url, environment) is False
    storage = PooledPostgresStorage(url, pool=PoolSettings(), connect_patience_s=5)
    version, head = storage.run_storage.alembic_version()
    assert version == head
    postgres_pool.dispose_engines()


@pytest.fixture
def mortal_server(tmp_path_factory):
    """A Postgres that the test may kill."""
    directory = tmp_path_factory.mktemp("mortal") / "postgres"
    server = PostgresServer(directory=directory, port=choose_free_ports(["it"])["it"], durable=True)
    server.start()
    yield server
    postgres_pool.dispose_engines()
    server.server.kill()


def test_a_killed_postgres_costs_no_statement_once_it_is_back(mortal_server):
    url = mortal_server.url("dagster")
    storage = PooledPostgresStorage(url, pool=PoolSettings(), connect_patience_s=30)
    before = backend_of(storage)
    mortal_server.server.kill()
    mortal_server.start()
    assert storage.run_storage.get_runs_count() == 0
    assert backend_of(storage) != before


def kill(server, storage):
    """Kill the server, and wait until the process behind the storage's connection knows it."""
    backend = backend_of(storage)
    server.server.kill()
    wait_until(lambda: not psutil.pid_exists(backend), what="the server process ended with its parent")


def test_a_statement_waits_for_a_postgres_that_restarts(mortal_server):
    storage = PooledPostgresStorage(mortal_server.url("dagster"), pool=PoolSettings(), connect_patience_s=30)
    kill(mortal_server, storage)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(storage.run_storage.get_runs_count)
        mortal_server.start()
        assert asked.result(timeout=40) == 0


def test_a_postgres_that_stays_away_is_given_up(mortal_server):
    storage = PooledPostgresStorage(mortal_server.url("dagster"), pool=PoolSettings(), connect_patience_s=1)
    kill(mortal_server, storage)
    began = time.monotonic()
    with pytest.raises(sqlalchemy.exc.OperationalError):
        storage.run_storage.get_runs_count()
    assert time.monotonic() - began < 25
