"""What a program wrote to standard error, in a file that never grows past its limit.

The beginning is kept, since it says what the program is, and the end, since it says why it failed; what
lies between is left out and counted. The file is the head followed by a ring, so it costs no memory.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

LIMIT = 10 * 1024 * 1024


class CappedLog:
    """Appended by one thread, read by any."""

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._head = limit // 2
        self._ring = limit - self._head
        self._written = 0
        self._lock = threading.Lock()
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)

    @property
    def written(self) -> int:
        """Bytes that came so far, kept or not: a mark for `read`."""
        return self._written

    def append(self, data: bytes) -> None:
        """Keep what fits. A full disk loses lines of a log, never a run."""
        with self._lock:
            if self._file < 0:
                return
            with suppress(OSError):
                self._place(data)
            self._written += len(data)

    def read(self, since: int = 0) -> bytes:
        """What is kept of all that came after the mark, with a line where something is left out."""
        with self._lock:
            tail_from = max(self._head, self._written - self._ring)
            with self.path.open("rb") as file:
                head = self._read_between(file.fileno(), since, min(self._head, self._written))
                tail = self._read_between(file.fileno(), max(since, tail_from), self._written)
        left_out = tail_from - max(since, self._head)
        if left_out <= 0:
            return head + tail
        return head + b"\n[... %d bytes left out ...]\n" % left_out + tail

    def tail(self, since: int = 0, *, lines: int = 20, limit: int = 4000) -> str:
        """The last lines, of at most `limit` characters together."""
        text = self.read(max(since, self._written - 4 * limit)).decode("utf-8", "replace")
        return "\n".join(text.rstrip().splitlines()[-lines:])[-limit:]

    def close(self) -> None:
        """Nothing more is appended; what is kept can still be read."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _place(self, data: bytes) -> None:
        offset = self._written
        if offset < self._head:
            fits = data[: self._head - offset]
            os.pwrite(self._file, fits, offset)
            data, offset = data[len(fits) :], offset + len(fits)
        if len(data) > self._ring:
            offset += len(data) - self._ring
            data = data[-self._ring :]
        while data:
            place = (offset - self._head) % self._ring
            part = data[: self._ring - place]
            os.pwrite(self._file, part, self._head + place)
            data, offset = data[len(part) :], offset + len(part)

    def _read_between(self, file: int, start: int, end: int) -> bytes:
        """Bytes by their place in the stream: those of the ring are found round its corner."""
        parts = []
        while start < end:
            if start < self._head:
                place, size = start, min(end, self._head) - start
            else:
                turn = (start - self._head) % self._ring
                place, size = self._head + turn, min(end - start, self._ring - turn)
            # What a full disk did not take reads as nothing or as zeroes.
            parts.append(os.pread(file, size, place))
            start += size
        return b"".join(parts)
