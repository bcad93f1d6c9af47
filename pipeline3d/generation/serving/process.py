"""A program with its pipes, from its start to the end of everything that it started.

Between us and the program stands `keeper.py`, which ends it when we end, even by kill -9. Standard output is
read as lines of limited length, standard error into a file of limited length. Knows nothing of the protocol.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline3d.generation.serving.capped_log import CappedLog

KEEPER = Path(__file__).with_name("keeper.py")
LONGEST_LINE = 1024 * 1024
"""Bytes of one line of standard output; the protocol allows no more."""
LINES_AHEAD = 64
"""Lines that may wait to be read: whoever writes faster has to wait."""
CHUNK = 64 * 1024
LADDER: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGINT, 1.5), (signal.SIGTERM, 1.5))
"""What a program is asked to end with and how long it may take, each; then it is killed."""
GONE_WITHIN_S = 5.0
CATCH_UP_S = 0.3
READS_WITHIN_S = 10.0
"""A program that takes a command for longer than this is stuck."""


class LineTooLong(Exception):
    """The program wrote a line without an end to its standard output."""


class OutputEnded(Exception):
    """The program closed its standard output, as it does when it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """What the kernel refuses a program and each of its children; None sets no limit.

    `memory_bytes` limits the address space: of no use with CUDA, which reserves far more than it uses.
    """

    memory_bytes: int | None = None
    cpu_s: int | None = None
    file_bytes: int | None = None
    open_files: int | None = None

    def as_order(self) -> dict[str, int]:
        """The names of the constants and their values. No core dumps: they fill disks and hold pictures."""
        wanted = {
            "RLIMIT_AS": self.memory_bytes,
            "RLIMIT_CPU": self.cpu_s,
            "RLIMIT_FSIZE": self.file_bytes,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_CORE": 0,
        }
        return {
            name: value for name, value in wanted.items() if value is not None and hasattr(resource, name)
        }


class KeptProcess:
    """A running program. Use it from one thread at a time; `end` may come from any."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: CappedLog,
        limits: ProcessLimits | None = None,
        folder: Path | None = None,
        ignore_interrupt: bool = False,
    ) -> None:
        """Start it. `ignore_interrupt` starts it deaf to SIGINT, which ends a run but not a warm model."""
        self.log = log
        self._lines: queue.Queue[bytes | Exception] = queue.Queue(LINES_AHEAD)
        self._leaving = threading.Event()
        self._ending = threading.Lock()
        theirs, self._lifeline = os.pipe()
        order = {
            "parent": os.getpid(),
            "lifeline": theirs,
            "limits": (limits or ProcessLimits()).as_order(),
            "ignore_interrupt": ignore_interrupt,
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER), json.dumps(order), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                cwd=folder,
                pass_fds=(theirs,),
                start_new_session=True,
                bufsize=0,
            )
            os.set_blocking(self._process.stdin.fileno(), False)  # type: ignore[union-attr]
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(theirs)
        self._readers = [
            threading.Thread(target=read, name=f"{name}-{self.pid}", daemon=True)
            for name, read in (("lines", self._read_lines), ("log", self._read_log))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The pid of the keeper, which leads the session of the program."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The program's, 128 and the signal where one ended it; None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, once everything is gone; None where that takes longer."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.exit_code

    def write_line(self, line: bytes, timeout_s: float = READS_WITHIN_S) -> None:
        """Send a line. Raises OSError where the program does not read it (TimeoutError: not in time)."""
        stream = self._process.stdin
        if stream is None or stream.closed:
            raise BrokenPipeError("standard input is closed")
        rest = memoryview(line + b"\n")
        poller = select.poll()
        poller.register(stream, select.POLLOUT)
        while rest:
            if not poller.poll(timeout_s * 1000):
                raise TimeoutError("standard input is not read")
            rest = rest[os.write(stream.fileno(), rest) :]

    def next_line(self, timeout_s: float) -> bytes | None:
        """The next line, without its end; None where none came. Raises OutputEnded and LineTooLong."""
        try:
            line = self._lines.get(timeout=max(timeout_s, 0.0)) if timeout_s > 0 else self._lines.get_nowait()
        except queue.Empty:
            return None
        if isinstance(line, Exception):
            self._lines.put_nowait(line)  # it stays so
            raise line
        return line

    def members(self) -> list[psutil.Process]:
        """The program and all that it started, as far as they live."""
        try:
            return list(psutil.Process(self.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def memory_bytes(self) -> int:
        """Resident bytes of the program and all that it started."""
        total = 0
        for member in self.members():
            with suppress(psutil.Error):
                total += member.memory_info().rss
        return total

    def catch_up_log(self) -> None:
        """Wait a moment until what it wrote to standard error is in the log: that is a pipe of its own."""
        stream = self._process.stderr
        if stream is None or stream.closed:
            return
        poller = select.poll()
        poller.register(stream, select.POLLIN)
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline:
            unread = any(event & select.POLLIN for _, event in poller.poll(0))
            time.sleep(0.002)  # what was just read is about to be kept
            if not unread:
                return

    def end(self, ladder: Iterable[tuple[signal.Signals, float]] = LADDER) -> int:
        """End it with all that it started: asked as the ladder says, then killed. Returns its exit code."""
        with self._ending:
            self._leaving.set()
            with suppress(OSError):
                if self._process.stdin is not None:
                    self._process.stdin.close()
            try:
                for number, patience_s in ladder:
                    if self._process.poll() is not None:
                        break
                    _signal(self.members(), number)
                    self.wait(patience_s)
            finally:
                self._cut_lifeline()  # also where we are interrupted: the keeper does the rest
            if self.wait(GONE_WITHIN_S) is None:
                _signal([*self.members(), psutil.Process(self.pid)], signal.SIGKILL)
                self._process.wait()
            self._close_pipes()
        return self.exit_code or 0

    def kill(self) -> int:
        """End it with all that it started, at once."""
        return self.end(ladder=())

    def _cut_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _close_pipes(self) -> None:
        for reader in self._readers:
            reader.join(GONE_WITHIN_S)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None and not any(reader.is_alive() for reader in self._readers):
                stream.close()

    # -- what it says

    def _read_lines(self) -> None:
        rest = b""
        while True:
            chunk = self._read(self._process.stdout)
            if not chunk:
                self._tell(OutputEnded())
                return
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE or any(len(line) > LONGEST_LINE for line in whole):
                self._tell(LineTooLong())
                self._drain()
                return
            for line in whole:
                if line.strip():
                    self._tell(line)

    def _read_log(self) -> None:
        while chunk := self._read(self._process.stderr):
            self.log.append(chunk)

    def _drain(self) -> None:
        while self._read(self._process.stdout):
            continue

    @staticmethod
    def _read(stream: object) -> bytes:
        try:
            return os.read(stream.fileno(), CHUNK)  # type: ignore[attr-defined]
        except (OSError, ValueError):
            return b""

    def _tell(self, said: bytes | Exception) -> None:
        """Hand a line over; whoever does not take it lets the program wait, until it is to end."""
        while True:
            try:
                self._lines.put(said, timeout=0.0 if self._leaving.is_set() else 0.1)
                return
            except queue.Full:
                if self._leaving.is_set():
                    with suppress(queue.Empty):
                        self._lines.get_nowait()


def _signal(members: Iterable[psutil.Process], number: signal.Signals) -> None:
    for member in members:
        with suppress(psutil.Error):
            member.send_signal(number)  # psutil makes sure that the pid was not given to another
