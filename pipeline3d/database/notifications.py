"""Waiting for a NOTIFY: the one thing that needs the driver itself rather than SQLAlchemy.

A listener is told of what commits after it started to listen; what happened before is for its caller to read.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg import sql
from sqlalchemy import Engine

from pipeline3d.errors import DatabaseUnavailable


def wait_for_notification(engine: Engine, channel: str, plan_wait: Callable[[], float]) -> bool:
    """Listen on `channel`, then ask `plan_wait` how many seconds to wait; True when a message came.

    The question is asked after the listening began, so a change that commits between the two is never missed:
    either the question sees it or its message arrives.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            driver.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            try:
                timeout_s = plan_wait()
                if timeout_s <= 0:
                    return False
                return any(True for _ in driver.notifies(timeout=timeout_s, stop_after=1))
            finally:
                # The connection goes back to a pool, where nobody would read what it keeps on hearing.
                if not driver.closed:
                    driver.execute("UNLISTEN *")
        except psycopg.OperationalError as error:
            connection.invalidate()
            raise DatabaseUnavailable("Postgres went away while waiting for a message.") from error
