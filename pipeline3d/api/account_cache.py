"""Who a key or a session belongs to, kept for some seconds, so that a request costs no question of its own.

Kept are hashes and accounts, never a key. Every change of users, keys and sessions sends a NOTIFY (triggers
of migration 0007); a process that hears it forgets all that it keeps. One that does not, because the
connection is gone, forgets by itself after `keep_s`, so a revoked key never works longer than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine

from pipeline3d.database.notifications import listening_async
from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.requests.accounts import Account

logger = logging.getLogger("pipeline3d.api")

ACCESS_CHANNEL = "pipeline3d_access"
MAX_ACCOUNTS = 10_000
LISTEN_AGAIN_S = 60.0
BACK_OFF_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An account, and how many seconds its key or session has left (None: it does not end)."""

    account: Account
    seconds_left: float | None


class AccountCache:
    """Accounts by the hash of what opens them. Belongs to one event loop."""

    def __init__(
        self,
        engine: AsyncEngine,
        keep_s: float,
        *,
        max_accounts: int = MAX_ACCOUNTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._keep_s = keep_s
        self._max_accounts = max_accounts
        self._clock = clock
        self._kept: dict[str, tuple[float, Account]] = {}
        self._generation = 0
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, the_hash: str, ask: Callable[[], Awaitable[Found | None]]) -> Account | None:
        """The account of this hash, kept or asked for. What nobody knows is asked for every time."""
        kept = self._kept.get(the_hash)
        if kept is not None:
            if self._clock() < kept[0]:
                return kept[1]
            del self._kept[the_hash]
        generation = self._generation
        found = await ask()
        if found is None:
            return None
        # What was read before a change that came meanwhile may be what has just changed.
        if self._keep_s > 0 and generation == self._generation:
            self._keep(the_hash, found)
        return found.account

    def forget(self) -> None:
        """Ask anew for everybody."""
        self._kept.clear()
        self._generation += 1

    def _keep(self, the_hash: str, found: Found) -> None:
        keep_s = self._keep_s if found.seconds_left is None else min(self._keep_s, found.seconds_left)
        while len(self._kept) >= self._max_accounts:
            del self._kept[next(iter(self._kept))]  # the one that was asked for first
        self._kept[the_hash] = (self._clock() + keep_s, found.account)

    def start(self) -> None:
        """Listen, with one connection, until `close`."""
        if self._keep_s > 0:
            self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Listen no longer."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._engine.dispose()

    async def _listen(self) -> None:
        was_told = False
        while True:
            try:
                async with listening_async(self._engine, ACCESS_CHANNEL) as listener:
                    self.forget()  # what was said before is lost
                    was_told = False
                    while True:
                        if await listener.wait(LISTEN_AGAIN_S):
                            self.forget()
            except (DatabaseUnavailable, psycopg.Error, OSError) as error:
                if not was_told:
                    logger.warning("Changes of users and keys are not heard of at once now: %s", error)
                was_told = True
            await asyncio.sleep(BACK_OFF_S)
