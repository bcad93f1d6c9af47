"""Ending a process with all that it started, politely first; and finding what a dead process left behind.

A step may have started programs of its own (ffmpeg, a model in another environment). Ending only the process
that runs the step would leave them with the GPU.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterable
from contextlib import suppress

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of whatever a process below us leaves behind when it dies (Linux)."""
    _tell_kernel(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(look_s: float = 0.5) -> None:
    """End this process, with all that it started, soon after its parent process ended.

    For processes that Celery forks. It asks the kernel to kill them with their parent, but the kernel means
    the *thread* that forked them, which for a process that replaced another one is a thread of the pool: it
    ends when a worker begins to drain, and the run that is to be finished would be killed.
    """
    _tell_kernel(_PR_SET_PDEATHSIG, 0)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(look_s)
        signal_all(reversed(tree_of(os.getpid())), signal.SIGKILL)  # itself last

    threading.Thread(target=watch, name="watches-parent", daemon=True).start()


def _tell_kernel(option: int, value: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def tree_of(pid: int) -> list[psutil.Process]:
    """The process and everything below it; empty where it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def is_below(pid: int, ancestor: int) -> bool:
    """Whether a process lives and was started, directly or not, by `ancestor`: a pid may be used again."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(parent.pid == ancestor for parent in process.parents())
    except psutil.NoSuchProcess:
        return False


def signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> int:
    """Send a signal to each that still lives; how many there were."""
    reached = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)  # psutil makes sure that the pid was not given to another
            reached += 1
    return reached


def end_orphans(*, spared: Collection[int]) -> list[int]:
    """Kill and collect the children of this process that are not `spared`: nobody else will."""
    ended = []
    for child in psutil.Process().children():
        if child.pid in spared:
            continue
        signal_all(tree_of(child.pid), signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child.pid, 0)
        ended.append(child.pid)
    return ended
