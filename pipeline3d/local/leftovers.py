"""Finds and ends every process that belongs to one installation, wherever it ended up in the tree.

Each program inherits a variable that names its data directory. PostgreSQL overwrites its own copy of
the environment and is known by its working directory instead. Nothing else is ever touched.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil

from pipeline3d.local.supervision import STACK_VARIABLE, SUPERVISOR_MODULE


def find_processes_of(data_directory: Path) -> list[psutil.Process]:
    """All living processes of this installation, except the one that asks."""
    marker = str(data_directory.resolve())
    found = []
    for process in psutil.process_iter():
        if process.pid != os.getpid() and _belongs_to(process, marker):
            found.append(process)
    return found


def _belongs_to(process: psutil.Process, marker: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(STACK_VARIABLE) == marker:
            return True
        return process.name() == "postgres" and str(process.cwd()).startswith(f"{marker}/")
    except (psutil.Error, OSError):
        return False


def wait_for_supervisor_of(data_directory: Path, *, patience_s: float) -> None:
    """Let a supervisor that lost its parent finish its orderly stop."""
    supervisors = [process for process in find_processes_of(data_directory) if _is_supervisor(process)]
    psutil.wait_procs(supervisors, timeout=patience_s)


def _is_supervisor(process: psutil.Process) -> bool:
    try:
        return SUPERVISOR_MODULE in process.cmdline()
    except psutil.Error:
        return False


def end_processes_of(data_directory: Path, *, patience_s: float) -> int:
    """Give them `patience_s` to end by themselves, then kill what is left; how many had to be killed."""
    deadline = time.monotonic() + patience_s
    while find_processes_of(data_directory):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    killed: set[int] = set()
    # Again and again: a process may have started a child while we were reading the list.
    while remaining := find_processes_of(data_directory):
        for process in remaining:
            try:
                process.kill()
                killed.add(process.pid)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(remaining, timeout=0.5)
        if time.monotonic() > deadline + 5:
            break
    return len(killed)
