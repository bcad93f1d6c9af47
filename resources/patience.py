"""Waiting out a short outage of Postgres or the object store, so that it does not cost the work of a stage.

A database that restarts is away for seconds; the stage whose result it should have recorded took minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from pipeline3d.errors import DatabaseUnavailable, StoreUnavailable

Result = TypeVar("Result")

OUTAGE_PATIENCE_S = 60.0
"""Longer than a server takes to start again after a crash. Then the attempt fails and another may come."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0

logger = logging.getLogger("pipeline3d.runs")


def wait_out_outage(
    action: Callable[[], Result],
    *,
    patience_s: float = OUTAGE_PATIENCE_S,
    clock: Callable[[], float] = monotonic,
    pause: Callable[[float], object] = sleep,
) -> Result:
    """Do it, again and again while a server is away; raises the last error when the patience is at its end.

    `action` may have been done although its answer was lost: doing it twice must do no harm.
    """
    give_up_at = clock() + patience_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return action()
        except (DatabaseUnavailable, StoreUnavailable) as outage:
            if clock() + pause_s > give_up_at:
                raise
            logger.warning("%s Trying again in %.1f s.", outage.message, pause_s)
        pause(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
