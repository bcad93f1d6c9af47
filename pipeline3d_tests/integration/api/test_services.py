"""Statements of the API at moments when the database cannot let all of them go on."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from pipeline3d.api.services import Services
from pipeline3d.database.engines import create_asyncio_engine
from pipeline3d.settings import Settings
from pipeline3d_tests.servers import wait_until

HERE, THERE = 9_041, 9_042


def run(url, *statements, by="all"):
    """The rows of each statement, as the API runs them."""

    async def ask():
        services = Services(settings=Settings(_env_file=None), engine=create_asyncio_engine(url), store=None)
        try:
            return [await getattr(services, by)(statement) for statement in statements]
        finally:
            await services.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("by", ["first", "all", "directly", "together", "execute"])
def test_a_statement_that_ended_a_deadlock_is_run_once_more(database_url, engine, by):
    # its own patience is shorter than that of the other, so that it is the one that is taken back
    impatient = f"{database_url}?options=-c%20deadlock_timeout%3D200ms"
    crossing = select(func.pg_advisory_xact_lock(THERE), func.pg_advisory_xact_lock(HERE))
    count = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    deadlocks = text(
        "SELECT pg_stat_clear_snapshot(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    answers = []
    with engine.connect() as looking, engine.connect() as other:
        looking = looking.execution_options(isolation_level="AUTOCOMMIT")
        before = looking.execute(deadlocks).one().deadlocks
        other.execute(select(func.pg_advisory_xact_lock(HERE)))
        thread = threading.Thread(target=lambda: answers.append(run(impatient, crossing, by=by)))
        thread.start()
        wait_until(lambda: looking.execute(count).scalar() == 1, what="the statement waits", interval_s=0.005)
        other.execute(select(func.pg_advisory_xact_lock(THERE)))
        other.commit()
        thread.join()
        wait_until(
            lambda: looking.execute(deadlocks).one().deadlocks > before, what="Postgres counts the deadlock"
        )
    assert len(answers) == 1


def test_a_statement_that_is_wrong_is_not_run_again(database_url, engine):
    with pytest.raises(DBAPIError, match="division by zero"):
        run(database_url, text("SELECT 1 / 0"))


def test_statements_that_belong_together_are_run_where_the_first_finds_something(database_url):
    nothing, something, wrong = text("SELECT 1 WHERE false"), text("SELECT 1 AS one"), text("SELECT 1 / 0")

    async def ask():
        engine = create_asyncio_engine(database_url)
        services = Services(settings=Settings(_env_file=None), engine=engine, store=None)
        try:
            assert await services.together(nothing, wrong) is None
            assert (await services.together(something, nothing)).one == 1
            with pytest.raises(DBAPIError, match="division by zero"):
                await services.together(something, wrong)
        finally:
            await services.close()

    asyncio.run(ask())
