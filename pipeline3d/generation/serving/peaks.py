"""What models were seen to need: the highest memory and the last load time of each, kept over restarts.

A small JSON file that all workers of a host share. It is a memory of measurements and nothing depends on it:
one that is damaged or cannot be written only means that the declared figures are used.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger("pipeline3d.models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was measured of a model on a device. `peak_bytes` 0 where nothing was yet."""

    peak_bytes: int = 0
    load_s: float | None = None


class PeakBook:
    """The measurements; in memory only without a path. Thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, Learned] = self._read()

    def of(self, key: str) -> Learned:
        """What is known of a model."""
        return self._known.get(key, Learned())

    def note(self, key: str, *, peak_bytes: int | None = None, load_s: float | None = None) -> None:
        """Remember a measurement: the highest peak and the last load time count."""
        known = self.of(key)
        if (peak_bytes or 0) <= known.peak_bytes and load_s is None:
            return
        with self._lock:
            try:
                with self._alone():
                    # Another process may have measured more meanwhile.
                    self._known = self._read() | {key: self._highest(key, peak_bytes, load_s)}
                    self._write()
            except OSError as error:
                self._known[key] = self._highest(key, peak_bytes, load_s)
                logger.warning("what models need could not be noted: %s", error)

    def _highest(self, key: str, peak_bytes: int | None, load_s: float | None) -> Learned:
        known, stored = self._known.get(key, Learned()), self._read().get(key, Learned())
        seconds = load_s if load_s is not None else stored.load_s
        return Learned(
            peak_bytes=max(known.peak_bytes, stored.peak_bytes, peak_bytes or 0),
            load_s=known.load_s if seconds is None else round(seconds, 3),
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._path is None:
            yield
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Learned]:
        if self._path is None:
            return getattr(self, "_known", {})
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {key: known for key, value in found.items() if (known := _learned(value)) is not None}

    def _write(self) -> None:
        if self._path is None:
            return
        text = json.dumps({key: asdict(known) for key, known in sorted(self._known.items())}, indent=1)
        part = self._path.with_suffix(f".{os.getpid()}.part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(self._path)


def _learned(value: Any) -> Learned | None:
    if not isinstance(value, dict):
        return None
    peak, load_s = value.get("peak_bytes"), value.get("load_s")
    if isinstance(peak, bool) or not isinstance(peak, int) or peak < 0:
        return None
    if load_s is not None and (isinstance(load_s, bool) or not isinstance(load_s, int | float)):
        return None
    return Learned(peak_bytes=peak, load_s=None if load_s is None else float(load_s))
