"""Statements of the API that take a connection and give it back in one step."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from pipeline3d.database.engines import create_asyncio_engine
from pipeline3d.database.single_statements import fetch_all
from pipeline3d.errors import DatabaseUnavailable

WHO = text("SELECT pg_backend_pid() AS pid")


def with_one_connection(database_url, ask):
    """What a coroutine says that has an engine with a single connection."""

    async def borrow():
        engine = create_asyncio_engine(database_url, pool_size=1)
        try:
            return await ask(engine)
        finally:
            await engine.dispose()

    return asyncio.run(borrow())


def test_rows_come_back_and_the_connection_is_used_again(database_url):
    async def ask(engine):
        return [(await fetch_all(engine, WHO, {}))[0].pid for _ in range(3)]

    assert len(set(with_one_connection(database_url, ask))) == 1


def test_a_statement_without_rows_brings_none(database_url):
    async def ask(engine):
        return await fetch_all(engine, text("SET LOCAL statement_timeout = 0"), {})

    assert with_one_connection(database_url, ask) == []


def test_who_stops_waiting_interrupts_the_statement_and_takes_no_connection_away(database_url):
    async def ask(engine):
        for _ in range(4):  # more than the pool has
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await fetch_all(engine, text("SELECT pg_sleep(:seconds)"), {"seconds": 30})
        assert engine.pool.checkedout() == 0
        asleep = text(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
            " AND state = 'active' AND datname = current_database()"
        )
        return (await fetch_all(engine, asleep, {}))[0].n

    assert with_one_connection(database_url, ask) == 0


def test_a_server_that_is_not_there_is_told_by_its_class():
    with pytest.raises(DatabaseUnavailable):
        with_one_connection("postgresql://nobody@127.0.0.1:1/none", lambda engine: fetch_all(engine, WHO, {}))
