"""Waiting for a NOTIFY: the one thing that needs the driver itself rather than SQLAlchemy.

A listener is told of what commits after it started to listen; what happened before is for its caller to read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, Select, Text, column, func, literal, select, table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pipeline3d.errors import DatabaseUnavailable


class Listener:
    """A connection that hears one channel. Statements may run on it in between; nothing is missed."""

    def __init__(self, connection: Connection, driver: psycopg.Connection) -> None:
        self.connection = connection
        self._driver = driver

    def wait(self, timeout_s: float) -> bool:
        """Return True when a message came, or False when the time is up. All that came count as one."""
        came = any(True for _ in self._driver.notifies(timeout=timeout_s, stop_after=1))
        return any(True for _ in self._driver.notifies(timeout=0)) or came


@contextmanager
def listening(engine: Engine, channel: str) -> Iterator[Listener]:
    """Listen on `channel` with one connection, which is the caller's until the end of the block."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            driver.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            try:
                yield Listener(connection, driver)
            finally:
                # The connection goes back to a pool, where nobody would read what it keeps on hearing.
                if not driver.closed:
                    driver.execute("UNLISTEN *")
                    for _ in driver.notifies(timeout=0):
                        pass  # heard, and not for whoever borrows the connection next
        except psycopg.OperationalError as error:
            connection.invalidate()
            raise DatabaseUnavailable("Postgres went away while waiting for a message.") from error


def wait_for_notification(engine: Engine, channel: str, plan_wait: Callable[[], float]) -> bool:
    """Listen on `channel`, then ask `plan_wait` how many seconds to wait; True when a message came.

    The question is asked after the listening began, so a change that commits between the two is never missed:
    either the question sees it or its message arrives.
    """
    with listening(engine, channel) as listener:
        timeout_s = plan_wait()
        return timeout_s > 0 and listener.wait(timeout_s)


def count_listeners(channel: str) -> Select[int]:
    """How many connections to this database listen on a channel and have done nothing else since."""
    said = func.format('LISTEN "%s"', literal(channel, Text))
    activity = table("pg_stat_activity", column("datname"), column("query"))
    return select(func.count()).where(activity.c.datname == func.current_database(), activity.c.query == said)


class AsyncListener:
    """The same for asyncio: a connection that hears one channel and runs statements in between."""

    def __init__(self, connection: AsyncConnection, driver: psycopg.AsyncConnection) -> None:
        self.connection = connection
        self._driver = driver

    async def wait(self, timeout_s: float) -> bool:
        """Return True when a message came, or False when the time is up. All that came count as one."""
        came = False
        async for _ in self._driver.notifies(timeout=timeout_s, stop_after=1):
            came = True
        return came


@asynccontextmanager
async def listening_async(engine: AsyncEngine, channel: str) -> AsyncIterator[AsyncListener]:
    """Listen on `channel` with one connection of the engine, which is closed at the end of the block."""
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
        try:
            await driver.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            yield AsyncListener(connection, driver)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable("Postgres went away while waiting for a message.") from error
        finally:
            # It would go on hearing in the pool, where nobody reads what it hears.
            await connection.invalidate()
