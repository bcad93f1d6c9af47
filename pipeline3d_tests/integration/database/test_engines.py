"""What a caller sees where Postgres is not there."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, ProgrammingError

from pipeline3d.database.engines import create_asyncio_engine, create_sync_engine
from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.requests.ledger import JobLedger


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_database_that_does_not_answer_is_said_at_once(closed_port):
    engine = create_sync_engine(f"postgresql://u:topsecret@127.0.0.1:{closed_port}/d")
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as caught:
        JobLedger(engine).claim_queued(1, 1)
    assert time.monotonic() - started < 20
    assert "topsecret" not in str(caught.value)


def test_the_same_is_said_to_the_api(closed_port):
    async def ask():
        async with create_asyncio_engine(f"postgresql://u:p@127.0.0.1:{closed_port}/d").connect():
            pass

    with pytest.raises(DatabaseUnavailable):
        asyncio.run(ask())


def test_a_wrong_password_is_a_database_that_cannot_be_used(postgres_server):
    url = postgres_server.url().replace(postgres_server.password, "wrong")
    with pytest.raises(DatabaseUnavailable), create_sync_engine(url).connect():
        pass


def test_an_error_does_not_quote_what_was_to_be_stored(engine):
    with engine.connect() as connection, pytest.raises(DataError) as caught:
        connection.execute(text("SELECT CAST(:prompt AS text)"), {"prompt": "somebody's secret\x00"})
    assert "somebody's secret" not in str(caught.value)


def test_a_server_that_vanished_is_missed_soon(database_url):
    """A worker whose cable was cut waited two hours for an answer of its old connections."""
    engine = create_sync_engine(database_url)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        with socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM) as line:
            set_to = [
                line.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert set_to == [15, 5, 3]
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    engine.dispose()


def test_a_wrong_statement_stays_what_it_is(engine):
    with pytest.raises(ProgrammingError), engine.connect() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))


def test_a_connection_that_died_in_the_pool_is_replaced(engine, database_url):
    with engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
    killer = create_sync_engine(database_url)
    with killer.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    killer.dispose()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_a_connection_that_dies_in_use_is_an_unavailable_database(engine):
    with pytest.raises(DatabaseUnavailable), engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
