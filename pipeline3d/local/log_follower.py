"""Shows the programs' log files on the terminal as they grow, each line with its program's name.

Reading the files that supervisord writes keeps terminal and servers apart: a terminal that stands
still never stops a server. Follows a file through rotation.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

_LOOK_EVERY_S = 0.1
_LONGEST_LINE = 64 * 1024


class _FollowedFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        # Opened now, so that a rotation before the first look loses nothing.
        self._file: BinaryIO | None = path.open("rb") if path.exists() else None
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)  # the run that wrote it has shown it

    def read_lines(self) -> list[str]:
        """The lines that were completed since the last call."""
        lines = self._read_more()
        if self._was_rotated():
            lines += self._read_more()  # what was written between reading and rotating
            self._close()
            lines += self._read_more()
        return lines

    def _read_more(self) -> list[str]:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return []
        *whole, rest = (self._rest + self._file.read()).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        self._rest = rest
        return [line.decode(errors="replace").rstrip("\r") for line in whole]

    def _was_rotated(self) -> bool:
        if self._file is None:
            return False
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:  # just renamed; the new one comes
            return False

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def finish(self) -> list[str]:
        """The last lines, also one without an end."""
        lines = self.read_lines()
        self._close()
        return [*lines, self._rest.decode(errors="replace")] if self._rest else lines


class LogFollower:
    """Calls `show` with `name | line` for every new line, from a thread of its own."""

    def __init__(self, names: Iterable[str], logs: Path, show: Callable[[str], None]) -> None:
        self._files = {name: _FollowedFile(logs / f"{name}.log") for name in names}
        self._width = max((len(name) for name in self._files), default=0)
        self._show = show
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="log-follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Show what is left, then end."""
        self._ending.set()
        self._thread.join(timeout=2)

    def _follow(self) -> None:
        while not self._ending.wait(_LOOK_EVERY_S):
            for name, file in self._files.items():
                self._show_all(name, file.read_lines())
        for name, file in self._files.items():
            self._show_all(name, file.finish())

    def _show_all(self, name: str, lines: Iterable[str]) -> None:
        for line in lines:
            self._show(f"{name:<{self._width}} | {line}")
