"""Processes that share a device ask each other for its memory: one that works, those that keep models.

A file of the host whose time of change is the message. It is a request and no right: whoever asked waits a
little and looks again.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path


class SharedRoom:
    """One process's ear and voice. Thread-safe; a process does not hear itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._heard = self._changed_at()

    def ask(self) -> None:
        """Ask all others to let the models go that nobody uses now."""
        with self._lock, suppress(OSError):  # on a full disk nobody hears it, and the run fails as without
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(f"{os.getpid()}\n", encoding="utf-8")
            self._heard = self._changed_at()

    def is_asked(self) -> bool:
        """Whether somebody asked since the last time."""
        with self._lock:
            heard, self._heard = self._heard, self._changed_at()
            return self._heard != heard and self._heard is not None

    def _changed_at(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None
