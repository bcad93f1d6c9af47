"""What a wrapper implements (`Model`) and what it is given to tell of its work (`Report`)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Callable

from protocol import EventWriter, Request, Result

PROGRESS_INTERVAL_S = 0.1


@dataclass(frozen=True)
class Readiness:
    """Whether the model could run here, as far as can be told without importing it."""

    ready: bool
    reason: str | None = None
    needs: tuple[str, ...] = ()


class Model:
    """What a wrapper implements. Methods are called by one thread, except `memory_bytes`."""

    name = ""
    version = "1"
    kind = ""
    modes: tuple[str, ...] = ("one_shot", "resident")
    environment: tuple[str, ...] = ()
    """Variables that the caller has to pass on, beside the protocol's own list."""
    description = ""
    licence: str | None = None

    def __init__(self, resident: bool) -> None:
        self.resident = resident

    @classmethod
    def readiness(cls) -> Readiness:
        """Looks at variables and files; never imports the model."""
        return Readiness(True)

    def load(self, params: dict[str, Any], report: Report) -> str:
        """Make ready for runs; returns the device, 'cpu' or 'cuda:0'. Called once until `unload`."""
        return "cpu"

    def run(self, request: Request, report: Report, is_canceled: Callable[[], bool]) -> Result:
        """Do the work. Raises Failure, or Canceled soon after `is_canceled()` became true."""
        raise NotImplementedError

    def unload(self) -> None:
        """Forget the model and give all memory back that can be given back."""

    def free(self) -> None:
        """Give cached device memory back and keep the model."""

    def memory_bytes(self) -> int | None:
        """Bytes of device memory in use; called from another thread at any time."""
        return None


class Report:
    """How a run tells of itself; every method may be called from any thread."""

    def __init__(self, writer: EventWriter, id: str | None) -> None:
        self._writer, self._id = writer, id
        self._told_at = -math.inf
        self.notes: list[str] = []

    def progress(
        self, fraction: float, message: str, step: int | None = None, steps: int | None = None
    ) -> None:
        """Tell how far the run is, 0 to 1; more than ten a second are left out, the end never is."""
        now = time.monotonic()
        if math.isnan(fraction) or (now - self._told_at < PROGRESS_INTERVAL_S and fraction < 1):
            return
        self._told_at = now
        event = {"event": "progress", "id": self._id, "fraction": min(1.0, max(0.0, float(fraction)))}
        self._writer.write(dict(event, message=message, step=step, steps=steps))

    def log(self, level: str, message: str) -> None:
        """Tell something; level is 'info' or 'warning'."""
        self._writer.write({"event": "log", "id": self._id, "level": level, "message": message})

    def note(self, message: str) -> None:
        """Tell what the user of the result has to know: a warning now, and again in `done`."""
        if message not in self.notes:
            self.notes.append(message)
            self.log("warning", message)
