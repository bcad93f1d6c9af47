"""Rings whenever a transaction that queued messages has committed: LISTEN, on a connection of its own.

A connection that breaks is opened again, with growing patience; what was missed meanwhile is looked for, so
the bell also rings once after every new connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pipeline3d.database.engines import CONNECT_TIMEOUT_S, NOTICE_VANISHED_SERVER, parse_database_url
from pipeline3d.requests.webhook_events import WEBHOOKS_CHANNEL

logger = logging.getLogger("pipeline3d.courier")

APPLICATION_NAME = "pipeline3d courier"
"""By this Postgres shows that a courier listens."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0


class Bell:
    """Something that may be waited for, and rung by anybody."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits, or will wait next."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when it was rung since the last wait, or when the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()


async def listen(database_url: str, bell: Bell, on_listening: Callable[[], None] | None = None) -> None:
    """Ring the bell for each notification, until cancelled. `on_listening` is called whenever it listens."""
    url = parse_database_url(database_url).set(drivername="postgresql")
    address = make_conninfo(
        url.render_as_string(hide_password=False),
        application_name=APPLICATION_NAME,
        connect_timeout=CONNECT_TIMEOUT_S,
        **NOTICE_VANISHED_SERVER,
    )
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(WEBHOOKS_CHANNEL)))
                pause_s = FIRST_PAUSE_S
                if on_listening is not None:
                    on_listening()
                bell.ring()
                async for _ in connection.notifies():
                    bell.ring()
        except psycopg.Error as error:
            logger.warning("Postgres does not answer, trying again in %.2g s: %s", pause_s, error)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
