"""Connections of a pool that died while they rested are replaced, without a round trip for each statement."""

from __future__ import annotations

import select
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

TRUSTED_IDLE_S = 30.0
"""A connection that rested longer is asked for an answer before it is lent, in case a firewall forgot it."""


def check_before_lending(engine: Engine) -> None:
    """Replace connections that died at rest, without a question to Postgres for each statement.

    When the server process behind a connection ends, its socket becomes readable. Only then, and after a long
    rest, is it worth a round trip to ask whether the connection works.
    """

    def remember_rest(_connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info["resting_since"] = time.monotonic()

    def check(connection: Any, entry: ConnectionPoolEntry, _fairy: object) -> None:
        since = entry.info.pop("resting_since", None)
        if since is None:
            return  # it was opened a moment ago
        rested_long = time.monotonic() - since > TRUSTED_IDLE_S
        if (rested_long or _has_something_to_say(connection)) and not _answers(engine, connection):
            # The others of its age are as dead.
            raise InvalidatePoolError()

    event.listen(engine, "checkin", remember_rest)
    event.listen(engine, "checkout", check)


def _has_something_to_say(connection: Any) -> bool:
    """Whether the server sent something unasked: a farewell, an end of the stream, or a harmless notice."""
    try:
        poll = select.poll()
        # Wrapped where it is one of asyncio, whose loop watches the socket during statements only.
        driver_connection = getattr(connection, "driver_connection", connection)
        poll.register(driver_connection.fileno(), select.POLLIN | select.POLLPRI)
        return bool(poll.poll(0))
    except Exception:  # a driver's own way to say that it is closed
        return True


def _answers(engine: Engine, connection: DBAPIConnection) -> bool:
    try:
        return bool(engine.dialect.do_ping(connection))
    except Exception:  # whatever it says, a connection that cannot say 1 is of no use
        return False
