"""Ties the life of a process to its parent's, so that nothing survives a kill -9 of the supervisor.

Owns the parent-death signal of Linux. Standard library only: programs import it before they exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

PARENT_PID_VARIABLE = "PIPELINE3D_PARENT_PID"
_PR_SET_PDEATHSIG = 1


def die_with_parent(death_signal: signal.Signals, parent_pid: int | None) -> None:
    """Ask the kernel to send us `death_signal` when our parent ends; leave at once if it already has.

    The kernel forgets the request when the uid changes, so call this after dropping privileges. The
    parent is the *thread* that started us: start such programs from a thread that lives on.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent_pid is not None and os.getppid() != parent_pid:
        # The parent died before the request was made, so the signal will never come.
        raise SystemExit(f"the parent process {parent_pid} is gone")


def parent_pid_of(environment: Mapping[str, str]) -> int | None:
    """The parent that started us on purpose, as it told us; None when started by hand."""
    told = environment.get(PARENT_PID_VARIABLE, "")
    return int(told) if told.isdigit() else None


def environment_for_child(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a child of this process knows its parent."""
    return {**environment, PARENT_PID_VARIABLE: str(os.getpid())}
