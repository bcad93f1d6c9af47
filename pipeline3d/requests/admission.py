"""How many requests may be on their way to a worker at a time, and how many of one user.

Dagster's queue stays shallow: what it holds is started in its own order, so whatever waits there has left the
fair order of the jobs table. Pure values; `turns` is their SQL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The limits that a dispatcher keeps to. A queue that no live worker serves admits nothing."""

    dispatched_per_slot: float = 2.0
    """Requests that may be dispatched and not begun, for each slot of the workers of a queue."""
    least_depth: int = 2
    """At least so many may be, however few slots there are: a slot that becomes free finds its next run."""
    silent_after_s: float = 60.0
    """A worker that gave no sign of life for this long serves nothing."""
    jobs_per_user: int | None = None
    """Requests of one user in work at a time, where the user has no limit of their own; None is no limit."""

    def depth(self, slots: int) -> int:
        """Requests that may be dispatched and not begun in a queue with that many slots."""
        return max(self.least_depth, math.ceil(self.dispatched_per_slot * slots)) if slots > 0 else 0
