"""How the courier goes about it: how long it tries, how much at a time, which addresses. Pure values."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_DELAYS_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0)
"""Seconds before the second, third … attempt: ten attempts within 23 hours."""
SPREAD = 0.2
"""How much longer a wait may be, by chance: what failed together does not come back together."""
LONGEST_ASKED_WAIT_S = 6 * 3600.0
"""A receiver that asks for more patience than this is asked again all the same."""
PASSING_ATTEMPTS = 3
"""Attempts for what the next message overtakes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierPolicy:
    """Everything that may be set. Times in seconds."""

    retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S
    disable_after_s: float = 5 * 86_400.0
    timeout_s: float = 10.0
    at_once: int = 32
    per_host: int = 8
    lease_s: float = 60.0
    """Longer than any attempt may take, so that nobody else takes what is being sent."""
    stop_grace_s: float = 2.0
    look_every_s: float = 30.0
    """So often the courier looks without being told: a notification may be lost with its connection."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts in private networks that may be visited all the same."""
    api_url: str | None = None
    """The API as receivers reach it; without it links are paths."""


def plan_retry(
    policy: CourierPolicy,
    failures: int,
    *,
    asked_wait_s: float | None = None,
    passing: bool = False,
    chance: Callable[[], float] = random.random,
) -> float | None:
    """Seconds until the next attempt after so many failures (1 for the first); None where there is none."""
    most = PASSING_ATTEMPTS - 1 if passing else len(policy.retry_delays_s)
    if failures > min(most, len(policy.retry_delays_s)):
        return None
    delay_s = policy.retry_delays_s[failures - 1] * (1 + SPREAD * chance())
    return max(delay_s, min(asked_wait_s or 0.0, LONGEST_ASKED_WAIT_S))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a `Retry-After` asks for, as a number or as a date; None where it cannot be read."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
