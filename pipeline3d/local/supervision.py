"""The programs of an installation as values, and the supervisord configuration that runs them.

Pure: paths and values in, text and documents out. Everything that could contain odd characters or a
secret (commands, environments) goes into a private JSON file for each program, which
`pipeline3d.local.program` reads; supervisord's own configuration holds relative names only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline3d.errors import ServerFailure
from pipeline3d.local.probes import Probe, build_probe_document

RUN_FOLDER = "run"
LOG_FOLDER = "logs"
SUPERVISOR_LOG = f"{LOG_FOLDER}/supervisord.log"
CONFIGURATION_FILE = f"{RUN_FOLDER}/supervisord.conf"
SUPERVISOR_MODULE = "pipeline3d.local.supervisor_process"
STACK_VARIABLE = "PIPELINE3D_STACK"
PYTHON_VARIABLE = "PIPELINE3D_PYTHON"

_HEADER = """[supervisord]
nodaemon=true
silent=true
logfile={log}
logfile_maxbytes=5MB
logfile_backups=2
pidfile={folder}/supervisord.pid
childlogdir={logs}
{user}
"""
# `startsecs=0`: supervisord would restart a program that fails after that time without any pause, and
# give up on one that fails before. The pause between starts, ever longer, is `program`'s.
_PROGRAM = """[program:{name}]
command="%(ENV_{python})s" -m pipeline3d.local.program {folder}/{name}.json
autostart=true
autorestart={restart}
exitcodes=0
startsecs=0
startretries=1000000
stopsignal={signal}
stopwaitsecs={stop_timeout}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised program.

    `after` names the programs that must be ready before this one begins; `once` programs are done,
    and count as ready, when they have ended with exit code 0. Without a probe a program counts as
    ready as soon as it has begun. A start does not wait for one that is not `awaited`. One that
    begins `at_once` does not wait either: it is only stopped before those that it is `after`.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    directory: Path
    ready: Probe | None = None
    after: tuple[str, ...] = ()
    once: bool = False
    awaited: bool = True
    at_once: bool = False
    stop_signal: str = "TERM"
    stop_timeout_s: int = 3


def begun_file(name: str) -> str:
    """Written by `program` at each start: how many before it failed in a row, when it began, its pid."""
    return f"{RUN_FOLDER}/{name}.begun.json"


def ready_file(name: str) -> str:
    """Written by a program that has no page to ask: its pid, once it is ready."""
    return f"{RUN_FOLDER}/{name}.ready"


def done_file(name: str) -> str:
    """Written by `program` when a `once` program has succeeded."""
    return f"{RUN_FOLDER}/{name}.done"


def plan_levels(programs: Sequence[Program]) -> list[list[Program]]:
    """Programs by depth of dependency: a level needs only the levels before it, and stops before them."""
    levels: list[list[Program]] = []
    placed: set[str] = set()
    waiting = list(programs)
    while waiting:
        level = [program for program in waiting if placed.issuperset(program.after)]
        if not level:
            names = ", ".join(program.name for program in waiting)
            raise ServerFailure(
                f"These programs wait for each other or for an unknown one: {names}.", code="bad_programs"
            )
        levels.append(level)
        placed.update(program.name for program in level)
        waiting = [program for program in waiting if program not in level]
    return levels


def build_supervisor_configuration(levels: Sequence[Sequence[Program]], *, as_root: bool) -> str:
    """supervisord's configuration; it stops group by group, the last level first."""
    # Without `user` supervisord warns at each start as root that it did not drop privileges.
    user = "user=root" if as_root else ""
    parts = [_HEADER.format(log=SUPERVISOR_LOG, folder=RUN_FOLDER, logs=LOG_FOLDER, user=user)]
    for number, level in enumerate(levels):
        for program in level:
            text = _PROGRAM.format(
                name=program.name,
                python=PYTHON_VARIABLE,
                folder=RUN_FOLDER,
                logs=LOG_FOLDER,
                restart="unexpected" if program.once else "true",
                signal=program.stop_signal,
                stop_timeout=program.stop_timeout_s,
            )
            parts.append(text)
        members = ",".join(program.name for program in level)
        parts.append(f"[group:level{number}]\nprograms={members}\npriority={number}\n")
    return "\n".join(parts)


def build_program_document(program: Program, programs: Sequence[Program], data: Path) -> dict[str, Any]:
    """What `pipeline3d.local.program` reads: the program, and how to see that its dependencies are ready."""
    by_name = {other.name: other for other in programs}
    return {
        "name": program.name,
        "command": list(program.command),
        "environment": dict(program.environment),
        "directory": str(program.directory),
        "once": program.once,
        "death_signal": f"SIG{program.stop_signal}",
        "begun_file": str(data / begun_file(program.name)),
        "done_file": str(data / done_file(program.name)),
        "waits_for": []
        if program.at_once
        else [_build_dependency(by_name[name], data) for name in program.after],
    }


def _build_dependency(program: Program, data: Path) -> dict[str, Any]:
    if program.once:
        return {"file": str(data / done_file(program.name))}
    if program.ready is None:
        return {"file": str(data / begun_file(program.name))}
    return build_probe_document(program.ready)
