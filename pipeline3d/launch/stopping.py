"""When a run that was asked to end gets which signal: pure, so that the patience of each step is one table.

INT lets the step clean up (Dagster raises it in the step), TERM does the same for programs that ignore INT,
KILL ends what is left. After KILL the process is gone and its run is settled by the warden.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

LADDER: tuple[tuple[float, signal.Signals], ...] = (
    (0.0, signal.SIGINT),
    (4.0, signal.SIGTERM),
    (8.0, signal.SIGKILL),
)
"""Seconds after the request, and the signal that is due then."""


@dataclass(slots=True)
class Stopping:
    """A run that is being ended: since when, and how many steps of the ladder it has had."""

    since: float
    steps: int = 0

    def due(self, now: float) -> signal.Signals | None:
        """The signal that is due now, each one once, the strongest of those that are due."""
        due = [number for after, number in LADDER if now - self.since >= after]
        if len(due) <= self.steps:
            return None
        self.steps = len(due)
        return due[-1]

    def seconds_to_next(self, now: float) -> float | None:
        """How long until the next signal; None after the last."""
        if self.steps >= len(LADDER):
            return None
        return max(0.0, LADDER[self.steps][0] - (now - self.since))
