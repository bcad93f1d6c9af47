"""Stands between a wrapper and an upstream program, so that nothing of that program outlives the wrapper.

`python guardian.py COMMAND...` runs the command in a session of its own and ends with its exit code (128 + n
for signal n). Its standard input is a pipe whose other end only the wrapper holds: when that closes, because
the wrapper wants an end or because it was killed, the command and all its descendants are killed. Descendants
are found by parentage, orphans included (PR_SET_CHILD_SUBREAPER), so a session of its own hides none.
Should the guardian itself be killed, the kernel kills the command (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
MAX_FILE_BYTES = 8 << 30
"""No file that these programs write comes near; a runaway one must not fill the disk."""
ENDING_S = 5.0
"""A process stuck in a driver cannot be killed; waiting longer for it helps nobody."""


def main(command: list[str]) -> int:
    """Run the command to its end or to the wrapper's."""
    if os.getpid() != os.getsid(0):
        os.setsid()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake_up, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda *_: (end_descendants(), os._exit(128 + signal.SIGTERM)))
    child = os.fork()
    if child == 0:
        _become(command)
    status = None
    while status is None:
        readable, _, _ = select.select([0, wake_up], [], [])
        if 0 in readable and not os.read(0, 4096):
            end_descendants()
            return 128 + signal.SIGKILL
        if wake_up in readable:
            os.read(wake_up, 4096)
        status = _reap(child)
    end_descendants()
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _become(command: list[str]) -> None:
    """In the child: limits, then the command. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        limit = MAX_FILE_BYTES if hard == resource.RLIM_INFINITY else min(MAX_FILE_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"guardian: {command[0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(127)


def _reap(child: int) -> int | None:
    """Collect whatever has ended; the command's status, or None while it runs."""
    status = None
    while True:
        try:
            pid, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = found


def end_descendants() -> None:
    """Kill every process below this one, again until none is left: they may be starting others."""
    until = time.monotonic() + ENDING_S
    while time.monotonic() < until:
        below = descendants(os.getpid())
        if not below:
            return
        for pid in below:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        _reap(-1)
        time.sleep(0.005)


def descendants(root: int) -> list[int]:
    """Ids of all processes below `root`, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in (b"Z", b"X"):
            children.setdefault(int(parent), []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.extend(below)
        waiting.extend(below)
    return found


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the guardian does what it can without."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
