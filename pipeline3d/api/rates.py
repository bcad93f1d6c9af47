"""How many requests a minute a user or a key makes: counted here, or in Redis for all processes together.

A moving window: at no time more than the limit within 60 seconds. Where Redis does not answer, this process
counts for itself until it does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.strategies import MovingWindowRateLimiter as SharedWindow
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

logger = logging.getLogger("pipeline3d.api")

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
    """Until one more is free, where none remains; else until all are."""


class RequestRates:
    """Counts requests; `hit` counts one."""

    def __init__(self, redis_url: str | None) -> None:
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._shared = None if redis_url is None else _connect(redis_url)
        self._ask_again_at = 0.0

    async def hit(self, rates: Sequence[Rate]) -> Standing | None:
        """Count a request against all of these; the narrowest standing, None where there is no limit."""
        standings = [await self._hit(rate) for rate in rates]
        return min(standings, key=lambda one: (one.allowed, one.remaining), default=None)

    async def _hit(self, rate: Rate) -> Standing:
        item = RateLimitItemPerMinute(rate.per_minute)
        if self._shared is not None and time.monotonic() >= self._ask_again_at:
            try:
                async with asyncio.timeout(2 * REDIS_TIMEOUT_S):
                    allowed = await self._shared.hit(item, rate.owner)
                    stats = await self._shared.get_window_stats(item, rate.owner)
                return _standing(rate, allowed, stats.remaining, stats.reset_time)
            # whatever a client of Redis raises: a limit that cannot be counted must not stop the service
            except Exception as error:
                self._ask_again_at = time.monotonic() + WITHOUT_REDIS_S
                logger.warning("Redis does not count requests now (%s): each process does.", error)
        allowed = self._own.hit(item, rate.owner)
        stats = self._own.get_window_stats(item, rate.owner)
        return _standing(rate, allowed, stats.remaining, stats.reset_time)


def _standing(rate: Rate, allowed: bool, remaining: int, reset_time: float) -> Standing:
    # the window's library counts by the wall clock
    reset_s = max(0.0, reset_time - time.time())
    return Standing(allowed=allowed, per_minute=rate.per_minute, remaining=remaining, reset_s=reset_s)


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
