"""How many requests a minute a user or a key makes: counted here, or in Redis for all processes together.

A moving window: at no time more than the limit within 60 seconds. Where Redis does not answer, this process
counts for itself until it does. Postgres does not count: that would be a write for each request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.strategies import MovingWindowRateLimiter as SharedWindow
from limits.storage import storage_from_string

logger = logging.getLogger("pipeline3d.api")

WINDOW_S = 60.0
REDIS_TIMEOUT_S = 0.25
WITHOUT_REDIS_S = 5.0
"""So long Redis is not asked again after it did not answer."""

UNIX_SCHEME = "unix://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A limit of requests in a minute, and who has it."""

    owner: str
    per_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a caller stands with a rate after this request."""

    allowed: bool
    per_minute: int
    remaining: int
    reset_s: float
    """Until one more is free."""


class RequestRates:
    """Counts requests; `hit` counts one."""

    def __init__(self, redis_url: str | None) -> None:
        self._own = MovingWindows()
        self._shared = None if redis_url is None else _connect(redis_url)
        self._ask_again_at = 0.0

    async def hit(self, rates: Sequence[Rate]) -> Standing | None:
        """Count a request against all of these; the narrowest standing, None where there is no limit."""
        standings = [await self._hit(rate) for rate in rates]
        return min(standings, key=lambda one: (one.allowed, one.remaining), default=None)

    async def _hit(self, rate: Rate) -> Standing:
        if self._shared is not None and time.monotonic() >= self._ask_again_at:
            item = RateLimitItemPerMinute(rate.per_minute)
            try:
                async with asyncio.timeout(2 * REDIS_TIMEOUT_S):
                    allowed = await self._shared.hit(item, rate.owner)
                    stats = await self._shared.get_window_stats(item, rate.owner)
                # that library counts by the wall clock
                reset_s = max(0.0, stats.reset_time - time.time())
                return Standing(
                    allowed=allowed, per_minute=rate.per_minute, remaining=stats.remaining, reset_s=reset_s
                )
            # whatever a client of Redis raises: a limit that cannot be counted must not stop the service
            except Exception as error:
                self._ask_again_at = time.monotonic() + WITHOUT_REDIS_S
                logger.warning("Redis does not count requests now (%s): each process does.", error)
        return self._own.hit(rate)


class MovingWindows:
    """The requests of the last minute in this process, by who made them.

    The library that counts in Redis counts in memory too, but keeps every name for ever and goes through all
    of them, in a new thread, for each request. Here who made none for a minute is forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._let_through: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._let_through)

    def hit(self, rate: Rate) -> Standing:
        """Count a request, where it is let through."""
        now = self._clock()
        self._forget_idle(now - WINDOW_S)
        moments = self._let_through.setdefault(rate.owner, deque())
        while moments and moments[0] <= now - WINDOW_S:
            moments.popleft()
        allowed = len(moments) < rate.per_minute
        if allowed:
            moments.append(now)
            self._let_through.move_to_end(rate.owner)
        # the limit may have been higher a moment ago
        next_to_go = moments[max(0, len(moments) - rate.per_minute)]
        return Standing(
            allowed=allowed,
            per_minute=rate.per_minute,
            remaining=max(0, rate.per_minute - len(moments)),
            reset_s=next_to_go - now + WINDOW_S,
        )

    def _forget_idle(self, until: float) -> None:
        """Forget who was let through last before that moment: they come first."""
        while self._let_through:
            owner, moments = next(iter(self._let_through.items()))
            if moments[-1] > until:
                return
            del self._let_through[owner]


def _connect(redis_url: str) -> SharedWindow:
    url = redis_url
    if url.startswith(UNIX_SCHEME):
        url = f"redis+{url}"
    storage = storage_from_string(
        f"async+{url}",
        implementation="redispy",
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
    )
    return SharedWindow(storage)
