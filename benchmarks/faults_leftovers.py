"""What an installation still holds when every request has its end: it should be nothing."""

from __future__ import annotations

import re
from contextlib import suppress

import psutil

from pipeline3d_tests.e2e.inspection import CELERY_MODULE, InspectedInstallation

UNFINISHED_RUNS = "SELECT count(*) AS n FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"


def count_leftovers(installation: InspectedInstallation) -> dict[str, int]:
    """How many there are of each kind."""
    return {
        "launched_runs": _count(installation, "SELECT count(*) AS n FROM launched_runs"),
        "messages": _count(installation, "SELECT count(*) AS n FROM kombu_message"),
        "unfinished_runs": int(installation.ask_dagster(UNFINISHED_RUNS)[0]["n"]),
        "zombies": len(find_zombies(installation)),
        "stray_workers": len(find_stray_workers(installation)),
        "scratch_folders": len(list((installation.data / "scratch").glob("run-*"))),
    }


def _count(installation: InspectedInstallation, question: str) -> int:
    return int(installation.ask_jobs(question)[0]["n"])


def find_zombies(installation: InspectedInstallation) -> list[psutil.Process]:
    """Dead processes below the installation that nobody collected."""
    zombies = []
    for process in installation.all_processes():
        with suppress(psutil.NoSuchProcess):
            zombies += [child for child in process.children() if child.status() == psutil.STATUS_ZOMBIE]
    return zombies


def find_stray_workers(installation: InspectedInstallation) -> list[psutil.Process]:
    """Processes of a worker that the warden of today knows nothing of."""
    stray = []
    warden = installation.pid_of("worker")
    for process in installation.all_processes():
        with suppress(psutil.NoSuchProcess):
            is_worker = CELERY_MODULE in process.cmdline()
            if is_worker and warden not in [parent.pid for parent in process.parents()]:
                stray.append(process)
    return stray


def count_log_errors(installation: InspectedInstallation) -> dict[str, int]:
    """Tracebacks in the log of each program."""
    found = {}
    for log in sorted((installation.data / "logs").glob("*.log")):
        tracebacks = len(re.findall(r"^Traceback ", log.read_text(errors="replace"), re.MULTILINE))
        if tracebacks:
            found[log.stem] = tracebacks
    return found
