"""Runs the programs of an installation: starts, watches, reports and stops them as one.

    with DataLock(data) as lock, Stack(lock, show=print) as stack:
        stack.start(programs, on_ready=report)
        stack.wait()

supervisord does the work; this module owns its life. Whatever way this process ends, nothing of the
stack outlives it by more than ten seconds: see `guardian`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, BinaryIO

from pipeline3d.errors import ServerFailure
from pipeline3d.local.data_lock import DataLock
from pipeline3d.local.guardian import GOODBYE
from pipeline3d.local.leftovers import end_processes_of
from pipeline3d.local.log_follower import LogFollower
from pipeline3d.local.parentage import environment_for_child
from pipeline3d.local.program import load_begun
from pipeline3d.local.supervision import (
    CONFIGURATION_FILE,
    LOG_FOLDER,
    PYTHON_VARIABLE,
    RUN_FOLDER,
    STACK_VARIABLE,
    SUPERVISOR_LOG,
    SUPERVISOR_MODULE,
    Program,
    begun_file,
    build_program_document,
    build_supervisor_configuration,
    done_file,
    plan_levels,
)

START_DEADLINE_S = 90.0
STOP_DEADLINE_S = 9.5
# So many starts in a row that failed are no accident: the start is given up and explained.
HOPELESS_FAILURES = 3
# What supervisor and guardian themselves have to say, which should be nothing.
OWN_LOG = f"{LOG_FOLDER}/stack.log"
_ASK_EVERY_S = 0.05
_SHOWN_LOG_LINES = 25

OnReady = Callable[[str, float], None]


class Stack:
    """All programs of one data directory, between `start` and `stop`.

    Use it in the main thread: the kernel ties the supervisor's life to the thread that starts it.
    """

    def __init__(
        self,
        lock: DataLock,
        *,
        environment: Mapping[str, str] | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        self._lock = lock
        self._data = lock.data_directory.resolve()
        inherited = dict(os.environ) if environment is None else dict(environment)
        # The guardian is not part of the stack that it cleans up, so it must not carry its mark.
        self._outer = {name: value for name, value in inherited.items() if name != STACK_VARIABLE}
        self._show = show
        self._programs: list[Program] = []
        self._log_begins: dict[str, int] = {}
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._follower: LogFollower | None = None
        self._old_handlers: dict[int, Any] = {}

    def __enter__(self) -> Stack:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it, on purpose
                    self._old_handlers[number] = signal.signal(number, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    def start(
        self,
        programs: Sequence[Program],
        *,
        on_ready: OnReady | None = None,
        deadline_s: float = START_DEADLINE_S,
    ) -> None:
        """Start all and return when all that are awaited are ready.

        `on_ready(name, seconds)` is told as each gets there; seconds count from when the program's own
        dependencies were ready. On failure everything is stopped and the error shows the end of the
        failing program's log.
        """
        self._programs = list(programs)
        self._write_files()
        self._begin_processes()
        try:
            self._wait_until_ready(on_ready, time.monotonic() + deadline_s)
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Return never while the supervisor lives; raise ServerFailure when it ends unasked."""
        if self._supervisor is None:
            return
        code = self._supervisor.wait()
        raise ServerFailure(
            f"The supervisor ended by itself with code {code}.",
            code="supervisor_ended",
            hint=f"Its log is {self._data / SUPERVISOR_LOG}.",
        )

    def stop(self) -> float:
        """Stop all, the last started first, within ten seconds; how many seconds it took."""
        began = time.monotonic()
        interrupted = _ignore_interrupts()
        try:
            if self._supervisor is not None:
                _end(self._supervisor, STOP_DEADLINE_S)
                end_processes_of(self._data, patience_s=0.0)
            if self._guardian is not None and self._guardian.stdin is not None:
                self._guardian.communicate(GOODBYE)
            if self._follower is not None:
                self._follower.stop()
        finally:
            self._supervisor = self._guardian = self._follower = None
            for number, handler in interrupted.items():
                signal.signal(number, handler)
        return time.monotonic() - began

    def log_of(self, name: str) -> Path:
        """The file in which a program's output is kept."""
        return self._data / LOG_FOLDER / f"{name}.log"

    def pid_of(self, name: str) -> int | None:
        """The process of a program, None while it waits for its dependencies."""
        begun = load_begun(self._data / begun_file(name))
        return int(begun["pid"]) if begun else None

    def _write_files(self) -> None:
        run, logs = self._data / RUN_FOLDER, self._data / LOG_FOLDER
        shutil.rmtree(run, ignore_errors=True)  # records of the last run would count as this one's
        for folder in (run, logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        levels = plan_levels(self._programs)
        text = build_supervisor_configuration(levels, as_root=os.geteuid() == 0)
        _write_private(self._data / CONFIGURATION_FILE, text)
        for program in self._programs:
            document = json.dumps(build_program_document(program, self._programs, self._data))
            _write_private(run / f"{program.name}.json", document)  # it holds secrets
            log = self.log_of(program.name)
            self._log_begins[program.name] = log.stat().st_size if log.exists() else 0

    def _begin_processes(self) -> None:
        with open(self._data / OWN_LOG, "ab", opener=_open_private) as log:
            self._begin_guardian(log)
            self._begin_supervisor(log)
        if self._show is not None:
            names = [program.name for program in self._programs]
            self._follower = LogFollower(names, self._data / LOG_FOLDER, self._show)
            self._follower.start()

    def _begin_guardian(self, log: BinaryIO) -> None:
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "pipeline3d.local.guardian", str(self._data)],
            env=self._outer,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(self._lock.descriptor,),
            start_new_session=True,
        )

    def _begin_supervisor(self, log: BinaryIO) -> None:
        marks = {STACK_VARIABLE: str(self._data), PYTHON_VARIABLE: sys.executable}
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR_MODULE, CONFIGURATION_FILE],
            env=environment_for_child({**self._outer, **marks}),
            cwd=self._data,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is ours; we stop the programs in order
        )

    def _wait_until_ready(self, on_ready: OnReady | None, deadline: float) -> None:
        begins = {program.name: time.monotonic() for program in self._programs if not program.after}
        ready: set[str] = set()
        awaited = [program for program in self._programs if program.awaited]
        while len(ready) < len(awaited):
            for program in awaited:
                if program.name in ready or not ready.issuperset(program.after):
                    continue
                began = begins.setdefault(program.name, time.monotonic())
                if self._is_ready(program):
                    ready.add(program.name)
                    if on_ready is not None:
                        on_ready(program.name, time.monotonic() - began)
                else:
                    self._raise_if_hopeless(program, deadline)
            time.sleep(_ASK_EVERY_S)

    def _is_ready(self, program: Program) -> bool:
        if program.once:
            return (self._data / done_file(program.name)).exists()
        if not (self._data / begun_file(program.name)).exists():
            return False
        return program.ready is None or program.ready.holds()

    def _raise_if_hopeless(self, program: Program, deadline: float) -> None:
        assert self._supervisor is not None
        begun = load_begun(self._data / begun_file(program.name))
        failures = int(begun["failures"]) if begun else 0
        if failures >= HOPELESS_FAILURES:
            reason = f"{program.name} does not start: it ended {failures} times"
        elif time.monotonic() > deadline:
            reason = f"{program.name} is not ready in time"
        elif self._supervisor.poll() is not None:
            reason = f"{program.name} cannot start: the supervisor ended ({self._data / SUPERVISOR_LOG})"
        else:
            return
        lines = self._read_last_lines(program.name)
        raise ServerFailure(
            f"{reason}. The end of its log:\n{lines}",
            code="program_not_ready",
            hint=f"The whole log is {self.log_of(program.name)}.",
            details={"program": program.name},
        )

    def _read_last_lines(self, name: str) -> str:
        """The end of what a program wrote in this run."""
        try:
            with self.log_of(name).open("rb") as log:
                log.seek(self._log_begins.get(name, 0))
                text = log.read().decode(errors="replace")
        except OSError:
            text = ""
        return "\n".join(text.splitlines()[-_SHOWN_LOG_LINES:]) or "(it wrote nothing)"


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_private(path: Path, text: str) -> None:
    with open(path, "x", encoding="utf-8", opener=_open_private) as file:
        file.write(text)


def _end(process: subprocess.Popen[bytes], deadline_s: float) -> None:
    process.terminate()
    try:
        process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _leave(number: int, _frame: FrameType | None) -> None:
    """SIGTERM and a closed terminal end the `with` block, and so stop everything in order."""
    raise SystemExit(128 + number)


def _ignore_interrupts() -> dict[signal.Signals, Any]:
    """A second Ctrl-C must not break off the orderly stop; returns the handlers to put back."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
