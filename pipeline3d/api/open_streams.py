"""Which event streams are open: so many for each user, none for longer than its key or session is valid.

A request is checked when it comes; a stream stays open for hours. One statement looks at the credentials of
all open streams at once, several times a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.database.engines import POOL_TIMEOUTS
from pipeline3d.errors import DatabaseUnavailable, LimitReached
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.permissions import effective_scopes
from pipeline3d.values import Role, Scope

logger = logging.getLogger("pipeline3d.api")

CHECK_EVERY_S = 20.0
RETRY_AFTER_S = 30

FindValid = Callable[[list[UUID], list[UUID]], Awaitable[list[Row[Any]]]]
"""From the ids of keys and of sessions to those that are valid, with `role` and `scopes`."""


@dataclass(slots=True, eq=False)
class OpenStream:
    """One stream and by what it was opened."""

    account: Account
    is_revoked: bool = False
    """The key or session is no longer valid, or may no longer read jobs."""

    @property
    def credential(self) -> UUID | None:
        """The key or session."""
        return self.account.key_id or self.account.session_id


class OpenStreams:
    """All streams of this process."""

    def __init__(self, find_valid: FindValid, *, per_user: int) -> None:
        self._find_valid = find_valid
        self._per_user = per_user
        self._open: set[OpenStream] = set()
        self._count_of: Counter[UUID] = Counter()
        self._checking: asyncio.Task[None] | None = None

    @contextmanager
    def admit(self, account: Account) -> Iterator[OpenStream]:
        """Count a stream of this account while it is open. LimitReached where it has too many."""
        if self._count_of[account.id] >= self._per_user:
            raise LimitReached(
                f"You have {self._per_user} event streams open, which is the most at a time.",
                code="too_many_streams",
                hint="Close some, or watch all your jobs with one stream of /api/v1/events.",
                details={"retry_after_s": RETRY_AFTER_S},
            )
        stream = OpenStream(account)
        self._open.add(stream)
        self._count_of[account.id] += 1
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check_again_and_again())
        try:
            yield stream
        finally:
            self._open.discard(stream)
            self._count_of[account.id] -= 1
            if not self._count_of[account.id]:
                del self._count_of[account.id]

    async def check(self) -> None:
        """Mark the streams whose key or session is no longer valid. DatabaseUnavailable marks none."""
        streams = [stream for stream in self._open if stream.credential is not None]
        keys = {stream.account.key_id for stream in streams} - {None}
        sessions = {stream.account.session_id for stream in streams} - {None}
        rows = await self._find_valid([*filter(None, keys)], [*filter(None, sessions)])
        readers = {
            row.id for row in rows if Scope.JOBS_READ in effective_scopes(Role(row.role), row.scopes or ())
        }
        now = datetime.now(UTC)
        for stream in streams:
            # an earlier secret of a key ends before the key does
            ends_at = stream.account.key_ends_at
            has_ended = ends_at is not None and ends_at <= now
            stream.is_revoked = has_ended or stream.credential not in readers

    async def close(self) -> None:
        """Check no more."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)

    async def _check_again_and_again(self) -> None:
        while self._open:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                await self.check()
            except (DatabaseUnavailable, *POOL_TIMEOUTS) as error:
                logger.warning("The keys of open streams cannot be checked now: %s", error)
