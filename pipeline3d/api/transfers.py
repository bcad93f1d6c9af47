"""How many files go through this process at a time: uploads, verifications, archives.

Each holds some memory, a thread and connections for as long as its caller's network takes. Beyond a number
one waits for a moment and is then refused, so that what is under way goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import anyio
import anyio.to_thread
from anyio import CapacityLimiter

from pipeline3d.errors import LimitReached, TransientFailure

T = TypeVar("T")

PATIENCE_S = 10.0
"""How long somebody waits for a place."""
RETRY_AFTER_S = 5.0
THREADS = 12


class Places:
    """A number of places for one sort of work, of which a user may have some. For one event loop."""

    def __init__(self, what: str, *, total: int, per_user: int, patience_s: float = PATIENCE_S) -> None:
        self._what = what
        self._total = total
        self._per_user = per_user
        self._patience_s = patience_s
        self._taken: Counter[UUID] = Counter()
        self._freed = anyio.Event()

    @asynccontextmanager
    async def take(self, user_id: UUID) -> AsyncIterator[None]:
        """Have a place for the block. LimitReached or TransientFailure where none became free in time."""
        await self.enter(user_id)
        try:
            yield
        finally:
            self.leave(user_id)

    async def enter(self, user_id: UUID) -> None:
        """Take a place, which must be left again."""
        with anyio.move_on_after(self._patience_s):
            while not self._has_room(user_id):
                await self._freed.wait()
        # no other task runs between this look and the next line
        if not self._has_room(user_id):
            raise self._refusal(user_id)
        self._taken[user_id] += 1

    def leave(self, user_id: UUID) -> None:
        """Give a place back."""
        self._taken[user_id] -= 1
        if not self._taken[user_id]:
            del self._taken[user_id]
        self._freed.set()
        self._freed = anyio.Event()

    def _has_room(self, user_id: UUID) -> bool:
        return self._taken[user_id] < self._per_user and self._taken.total() < self._total

    def _refusal(self, user_id: UUID) -> Exception:
        if self._taken[user_id] >= self._per_user:
            return LimitReached(
                f"{self._per_user} {self._what} of yours are under way, which is as many as may be.",
                code="too_many_transfers",
                hint="Wait until one has ended.",
                details={"retry_after_s": RETRY_AFTER_S},
            )
        return TransientFailure(f"Too many {self._what} are under way.", code="too_busy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """The places of one process, and the threads in which its transfers work."""

    uploads: Places = field(default_factory=lambda: Places("uploads", total=16, per_user=4))
    verifications: Places = field(default_factory=lambda: Places("verifications", total=4, per_user=2))
    archives: Places = field(default_factory=lambda: Places("archives", total=8, per_user=2))
    limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(THREADS))

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a piece of a transfer, which waits for the network or a disk, in a thread."""
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self.limiter)
