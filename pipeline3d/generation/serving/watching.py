"""Keeps an eye on a run: its time, its signs of life, what it writes, whether it is still wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline3d.generation.serving.capped_log import CappedLog
from pipeline3d.generation.serving.failures import make_error
from pipeline3d.generation.serving.outputs import OutputLimits, check_folder

TICK_S = 0.1
"""A cancellation is noticed within this time."""
LOOK_S = 0.5
"""The output folder and the memory are looked at this often."""

IsCanceled = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a wrapper may take for what, in seconds; None waits for ever.

    `silent_s` is for any sign of life, answers about its health included; `stalled_s` for events of the run.
    """

    start_s: float = 60.0
    load_s: float = 600.0
    run_s: float | None = 3600.0
    silent_s: float | None = 60.0
    stalled_s: float | None = None
    cancel_s: float = 2.0
    answer_s: float = 10.0


class Watch:
    """One command's time and life. `ask` requests a sign of life, where the wrapper can give one."""

    def __init__(
        self,
        *,
        limit_s: float | None,
        patience: Patience,
        is_canceled: IsCanceled,
        log: CappedLog,
        limits: OutputLimits,
        folder: Path | None = None,
        ask: Callable[[], None] | None = None,
        memory_bytes: Callable[[], int] | None = None,
    ) -> None:
        self._limit_s = limit_s
        self._patience = patience
        self._is_canceled = is_canceled
        self._log = log
        self._log_mark = log.written
        self._limits = limits
        self._folder = folder
        self._ask = ask
        self._memory_bytes = memory_bytes
        self._begun = self._sign = self._step = self._looked = time.monotonic()
        self._asked = False
        self.peak_bytes = 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun

    def note_sign(self, *, of_run: bool) -> None:
        """The wrapper spoke."""
        self._sign = time.monotonic()
        self._asked = False
        if of_run:
            self._step = self._sign

    def look(self) -> None:
        """Raise what ends the run: LeaseLost `canceled`, or the failure that it has come to."""
        if self._is_canceled():
            raise make_error("canceled")
        now = time.monotonic()
        if self._limit_s is not None and now - self._begun > self._limit_s:
            raise make_error("timeout", f"The model took longer than the {self._limit_s:g} s that it may.")
        self._look_for_life(now)
        if now - self._looked >= LOOK_S:
            self._looked = now
            self.measure()

    def measure(self) -> None:
        """Look at what it uses and wrote."""
        if self._memory_bytes is not None:
            self.peak_bytes = max(self.peak_bytes, self._memory_bytes())
        if self._folder is not None:
            check_folder(self._folder, self._limits)
        if self._log.written - self._log_mark > self._limits.log_bytes:
            raise make_error("log_too_large")

    def _look_for_life(self, now: float) -> None:
        silent_s, stalled_s = self._patience.silent_s, self._patience.stalled_s
        if stalled_s is not None and now - self._step > stalled_s:
            raise make_error("script_hung", f"The model's program made no step for {stalled_s:g} s.")
        if silent_s is None or self._ask is None:
            return
        if now - self._sign > silent_s:
            raise make_error("script_hung", f"The model's program gave no sign of life for {silent_s:g} s.")
        if now - self._sign > silent_s / 2 and not self._asked:
            self._asked = True
            self._ask()
