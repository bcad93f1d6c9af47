"""Stands between us and a wrapper: ends it, with all that it started, when we end, however we end.

Run by path, standard library only: `python -I -S keeper.py ORDER program argument...`, where ORDER is a JSON
object: `parent` (our pid), `lifeline` (a pipe's descriptor: it ends when we do), `limits` (names of RLIMIT_
constants and their values) and `ignore_interrupt`. A parent-death signal alone would not do: the kernel ties
it to the *thread* that started a process, and it reaches the process but not its children.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

LOOK_MS = 500
"""How often the parent is looked for. The pipe tells at once, unless a fork of the parent holds it."""
CANNOT_START = 127
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(order: dict[str, Any], command: list[str]) -> int:
    """Start the program, wait for its end or ours; the exit code says which, as a shell would."""
    os.set_inheritable(order["lifeline"], False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever ends the group needs us to end what left the group
    tell_kernel(PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    keeper = os.getpid()
    child = os.fork()
    if child == 0:
        become(command, order, keeper)
    let_go_of_streams()
    status = wait_for_end(child, order, woken)
    end_descendants()
    return 128 + signal.SIGKILL if status is None else as_exit_code(status)


def become(command: list[str], order: dict[str, Any], keeper: int) -> NoReturn:
    """Turn this fork into the program; never returns."""
    import resource

    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    if not order["ignore_interrupt"]:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        tell_kernel(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(CANNOT_START)
        for name, value in order["limits"].items():
            kind = getattr(resource, name)
            _, hard = resource.getrlimit(kind)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
        os.execvpe(command[0], command, os.environ)
    except (OSError, ValueError) as error:
        os.write(2, f"cannot start {command[0]}: {error}\n".encode())
        os._exit(CANNOT_START)


def let_go_of_streams() -> None:
    """Only the program may hold them, or nobody would notice that it closed them."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def wait_for_end(child: int, order: dict[str, Any], woken: int) -> int | None:
    """The child's wait status; None where we are to end it."""
    poller = select.poll()
    for descriptor in (order["lifeline"], woken):
        poller.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poller.poll(LOOK_MS)}
        if woken in ready:
            os.read(woken, 4096)
        status = collect(child)
        if status is not None:
            return status
        if order["lifeline"] in ready or os.getppid() != order["parent"]:
            return None


def collect(child: int | None = None) -> int | None:
    """Collect every child that has ended; the status of `child` where it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            return status


def end_descendants() -> None:
    """Kill whatever is below us, until nothing is: what loses its parent becomes our child."""
    if not os.path.isdir("/proc/self"):
        os.killpg(os.getpgrp(), signal.SIGKILL)  # us too
    poller = select.poll()
    while True:
        collect()
        below = list_descendants(os.getpid())
        if not below:
            return
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        poller.poll(10)


def list_descendants(root: int) -> set[int]:
    """The pids of everything below a process."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # pid (name, which may hold anything) state parent ...
                    parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
    below, added = set(), {root}
    while added:
        added = {pid for pid, parent in parents.items() if parent in added and pid not in below}
        below |= added
    return below


def as_exit_code(status: int) -> int:
    """A wait status as a shell tells it: 128 and the signal where one ended the program."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def tell_kernel(option: int, value: int) -> None:
    """prctl, where there is one."""
    if (
        sys.platform.startswith("linux")
        and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0
    ):
        raise OSError(ctypes.get_errno(), "prctl failed")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
