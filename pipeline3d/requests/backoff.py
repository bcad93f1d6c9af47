"""How long a request waits before its next attempt: one rule for everybody who queues one.

The wait doubles with each attempt up to a limit, and is spread by the request's id: requests that failed
together, because a store went away, do not come back together. The same attempt always waits the same time.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

FIRST_DELAY_S = 2.0
LONGEST_DELAY_S = 300.0
SPREAD = 0.25
"""How much of the delay is spread: up to so much shorter or longer."""


def retry_delay_s(job_id: UUID, failed_attempt: int) -> float:
    """Seconds from the end of an attempt, counted from 1, to the earliest begin of the next."""
    doublings = min(failed_attempt - 1, 30)  # beyond that the limit has long been reached
    delay_s: float = min(FIRST_DELAY_S * 2.0**doublings, LONGEST_DELAY_S)
    return min(delay_s * (1 + SPREAD * _spread_of(job_id, failed_attempt)), LONGEST_DELAY_S)


def _spread_of(job_id: UUID, attempt: int) -> float:
    """A number from -1 to 1 that looks random and is always the same."""
    digest = hashlib.sha256(job_id.bytes + attempt.to_bytes(8, "big")).digest()
    return int.from_bytes(digest[:4], "big") / 0xFFFF_FFFF * 2 - 1
