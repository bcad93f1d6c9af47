"""Turns the standard output and error of this process, and of what it starts, into two files for a while.

Two file descriptors are pointed elsewhere and back: a fraction of a millisecond, where Dagster's own capture
starts four processes. What is written then appears in the files only, not in the process's own log. Knows
nothing of runs and of where the files go.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

STDOUT_FD = 1
STDERR_FD = 2

_busy = threading.Lock()
"""A process has one standard output, so one capture at a time."""
_libc = ctypes.CDLL(None)


@contextlib.contextmanager
def capture_output(stdout: Path, stderr: Path) -> Iterator[bool]:
    """Append what the block writes to the two files. Says whether it does: not inside another capture.

    Raises OSError where a file cannot be opened or the process has no output; nothing is changed then.
    """
    if not _busy.acquire(blocking=False):
        yield False
        return
    try:
        with contextlib.ExitStack() as stack:
            for path, descriptor in ((stdout, STDOUT_FD), (stderr, STDERR_FD)):
                stack.enter_context(_redirect(path, descriptor))
            for stream in (sys.stdout, sys.stderr):
                stack.enter_context(_write_line_by_line(stream))
            yield True
    finally:
        _busy.release()


@contextlib.contextmanager
def _redirect(path: Path, descriptor: int) -> Iterator[None]:
    _flush()
    # Appending, so that processes which share the file never write over each other.
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        kept = os.dup(descriptor)
        os.dup2(target, descriptor)
    finally:
        os.close(target)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, descriptor)
        os.close(kept)


@contextlib.contextmanager
def _write_line_by_line(stream: object) -> Iterator[None]:
    """Python buffers what goes to a file: a reader who follows the run would see nothing for minutes."""
    if not isinstance(stream, TextIOWrapper) or stream.line_buffering:
        yield
        return
    stream.reconfigure(line_buffering=True)
    try:
        yield
    finally:
        stream.reconfigure(line_buffering=False)


def _flush() -> None:
    """What was written before belongs to the side where it was written, in Python and in C libraries."""
    for stream in (sys.stdout, sys.stderr):
        # Not every replacement of these has a file behind it, and a closed one has nothing to say.
        with contextlib.suppress(Exception):
            stream.flush()
    _libc.fflush(None)


def _begin_child() -> None:
    global _busy
    _busy = threading.Lock()


# A child that is forked in the middle of a run keeps writing to its files; it may capture for itself.
os.register_at_fork(after_in_child=_begin_child)
