"""One user's requests wait for one another before they borrow a connection to Postgres.

What is counted against a limit waits in Postgres for its turn, on whichever process it is. Without a turn
here, too, one busy user would have all connections of the process wait, and everybody else with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from pipeline3d.database.engines import POOL_TIMEOUT_S
from pipeline3d.errors import DatabaseUnavailable


class Turns:
    """Belongs to one event loop; remembers nobody who does not wait."""

    def __init__(self, patience_s: float = POOL_TIMEOUT_S) -> None:
        self._patience_s = patience_s
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, user_id: UUID) -> AsyncIterator[None]:
        """Be the only one of this user, as the first of those who wait. Raises DatabaseUnavailable
        as a pool does that has no connection to lend for so long."""
        lock = self._locks.setdefault(user_id, asyncio.Lock())
        try:
            async with asyncio.timeout(self._patience_s):
                await lock.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("Too many requests of this account wait for one another.") from None
        try:
            yield
        finally:
            lock.release()
