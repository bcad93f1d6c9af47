"""What is damaged in the fault benchmark, and how: always without a warning, as a crash does it."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum

import psutil

from pipeline3d_tests.e2e.inspection import InspectedInstallation


class Fault(StrEnum):
    """A part of an installation that can be lost."""

    RUN = "executing process"
    CELERY = "Celery parent"
    WARDEN = "warden"
    DAEMON = "daemon"
    CODE_SERVER = "code server"
    WEBSERVER = "webserver"
    API = "api"
    POSTGRES = "Postgres"
    OBJECTS = "object store"
    BROKER = "broker content"


PROGRAM_BY_FAULT = {
    Fault.WARDEN: "worker",
    Fault.DAEMON: "daemon",
    Fault.CODE_SERVER: "code-server",
    Fault.WEBSERVER: "webserver",
    Fault.API: "api",
    Fault.POSTGRES: "postgres",
    Fault.OBJECTS: "objects",
}


WORKER_FAULTS = frozenset({Fault.RUN, Fault.CELERY, Fault.WARDEN})


def draw_faults(chance: random.Random) -> Iterator[Fault]:
    """Every kind once, in random order, and again: no kind is left out by chance."""
    while True:
        yield from chance.sample(list(Fault), k=len(Fault))


def strike(installation: InspectedInstallation, fault: Fault, chance: random.Random) -> bool:
    """Do the damage; False where there was nothing to damage, as while the part is on its way back."""
    if fault is Fault.BROKER:
        installation.ask_jobs("DELETE FROM kombu_message")
        return True
    victim = find_victim(installation, fault, chance)
    if victim is None:
        return False
    try:
        victim.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def find_victim(
    installation: InspectedInstallation, fault: Fault, chance: random.Random
) -> psutil.Process | None:
    """The process to be killed: one at random where there are several, None where there is none now."""
    if fault in WORKER_FAULTS and not has_joined(installation):
        return None
    if fault is Fault.CELERY:
        return installation.celery_parent()
    if fault is Fault.RUN:
        rows = installation.ask_jobs(
            "SELECT worker_pid FROM launched_runs WHERE worker_pid IS NOT NULL ORDER BY run_id"
        )
        pids = [int(row["worker_pid"]) for row in rows]
    else:
        pids = [installation.pid_of(PROGRAM_BY_FAULT[fault])]
    ours = {process.pid: process for process in installation.all_processes()}
    living = [ours[pid] for pid in pids if pid in ours]
    with suppress(IndexError):
        return chance.choice(living)
    return None


def has_joined(installation: InspectedInstallation) -> bool:
    """Whether the worker of today takes runs."""
    pid = installation.pid_of(PROGRAM_BY_FAULT[Fault.WARDEN])
    return bool(installation.ask_jobs("SELECT 1 FROM workers WHERE pid = %s", pid))
