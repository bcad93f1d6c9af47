"""Wrappers as objects: the same few verbs for a program that stays and for one that runs once per request.

Whatever a wrapper does, the caller gets a `Done` whose files exist or one of our errors with its code; and
whenever that takes more than the program's own good will, the program is ended with all that it started.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pipeline3d.errors import Pipeline3dError
from pipeline3d.generation.serving import events
from pipeline3d.generation.serving.capped_log import LIMIT as LOG_LIMIT
from pipeline3d.generation.serving.capped_log import CappedLog
from pipeline3d.generation.serving.events import Event, WrapperRequest, parse_event
from pipeline3d.generation.serving.failures import error_of_exit, error_of_failure, make_error
from pipeline3d.generation.serving.outputs import Done, OutputLimits, check_outputs
from pipeline3d.generation.serving.process import (
    KeptProcess,
    LineTooLong,
    OutputEnded,
    ProcessLimits,
)
from pipeline3d.generation.serving.watching import TICK_S, IsCanceled, Patience, Watch

Report = Callable[[events.Progress], None]
REPORT_EVERY_S = 0.25
"""Progress that comes faster is not passed on: each report is written to a table."""
EXIT_WITHIN_S = 10.0
"""A one-shot program that said how it ended has this long to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapperProgram:
    """How a wrapper is started: its interpreter and script, what it sees, what it may use."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path | None = None
    patience: Patience = field(default_factory=Patience)
    limits: ProcessLimits = field(default_factory=ProcessLimits)
    output_limits: OutputLimits = field(default_factory=OutputLimits)
    log_limit: int = LOG_LIMIT


RUN_ENDS: tuple[type[Event], ...] = (events.Finished, events.Failed, events.Canceled)


def never() -> bool:
    """Nobody cancels."""
    return False


def no_report(_progress: events.Progress) -> None:
    """Nobody looks."""


class Wrapper(ABC):
    """One wrapper; one run at a time."""

    def __init__(self, program: WrapperProgram, log_path: Path) -> None:
        self.program = program
        self.log = CappedLog(log_path, limit=program.log_limit)
        self._log_mark = 0
        self._process: KeptProcess | None = None
        self._closed = False
        self._device: str | None = None
        self._told_bytes: int | None = None
        self._told_rss: int | None = None

    @abstractmethod
    def load(self, params: Mapping[str, Any] | None = None, is_canceled: IsCanceled = never) -> events.Loaded:
        """Bring the model into memory."""

    @abstractmethod
    def run(
        self, request: WrapperRequest, report: Report = no_report, is_canceled: IsCanceled = never
    ) -> Done:
        """Work on a request. Raises our errors; LeaseLost `canceled` once `is_canceled` says so."""

    @abstractmethod
    def health(self) -> events.Health | None:
        """What the wrapper says of itself; None where nothing runs."""

    @abstractmethod
    def free(self) -> None:
        """Have it give back memory that it only caches."""

    @abstractmethod
    def unload(self) -> None:
        """Have it forget the model; a CUDA context stays until the process ends."""

    @property
    def is_alive(self) -> bool:
        """Whether it can take a request."""
        return not self._closed

    @property
    def pid(self) -> int | None:
        """The session's leader; None where nothing runs."""
        return None if self._process is None else self._process.pid

    def memory_bytes(self) -> int | None:
        """Resident bytes of all its processes."""
        return None if self._process is None else self._process.memory_bytes()

    def held_bytes(self) -> int | None:
        """What it holds of its device, or of the RAM where that is its device, as of its last word."""
        if self._told_bytes and self._device != "cpu":
            return self._told_bytes
        return self._told_rss or self.memory_bytes()

    def read_log(self) -> bytes:
        """What it wrote to standard error since its last run began; of a long one, the middle is left out."""
        self._catch_up_log()
        return self.log.read(self._log_mark)

    def close(self) -> None:
        """End it with all that it started. Harmless when it has ended."""
        self._closed = True
        if self._process is not None:
            self._process.end()
        self.log.close()

    # -- shared by both

    def _start(self, *arguments: str, ignore_interrupt: bool = False) -> KeptProcess:
        try:
            return KeptProcess(
                [*self.program.command, *arguments],
                environment=self.program.environment,
                log=self.log,
                limits=self.program.limits,
                folder=self.program.folder,
                ignore_interrupt=ignore_interrupt,
            )
        except OSError as error:  # no memory, no more processes, no such folder
            message = f"The model's program could not be started: {error}."
            raise make_error("wrapper_died", message, hint="The worker's host may be full.") from error

    def _tail(self) -> str:
        self._catch_up_log()
        return self.log.tail(self._log_mark)

    def _catch_up_log(self) -> None:
        if self._process is not None:
            self._process.catch_up_log()

    def _fail(self, error: Pipeline3dError) -> NoReturn:
        """End the program and raise, with the last that it said."""
        self._end_now()
        tail = self._tail()
        if tail:
            error.details.setdefault("stderr_tail", tail)
        raise error

    def _end_now(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _next_event(self, process: KeptProcess, timeout_s: float) -> Event | None:
        """The next thing that it says. Raises our error where it ended or babbles."""
        try:
            line = process.next_line(timeout_s)
            return None if line is None else parse_event(line)
        except OutputEnded:
            exit_code = process.wait(EXIT_WITHIN_S)
            exit_code = process.end() if exit_code is None else exit_code
            self._end_now()
            raise error_of_exit(exit_code, stderr_tail=self._tail()) from None
        except LineTooLong:
            self._fail(make_error("wrapper_fault", "The model's program wrote a line without an end."))
        except events.MalformedEvent as error:
            self._fail(make_error("wrapper_fault", f"The model's program said what is no event: {error}."))

    def _await(
        self,
        process: KeptProcess,
        command_id: str | None,
        watch: Watch,
        report: Report = no_report,
        *,
        ends_with: tuple[type[Event], ...],
    ) -> Event:
        """Pass progress on until the command's end. Raises what `watch` raises."""
        reported = -REPORT_EVERY_S
        while True:
            watch.look()
            event = self._next_event(process, TICK_S)
            if event is None:
                continue
            mine = event.id == command_id
            watch.note_sign(of_run=mine)
            if not mine:
                continue  # an answer that came late
            if isinstance(event, ends_with):
                return event
            if isinstance(event, events.Progress) and watch.seconds - reported >= REPORT_EVERY_S:
                reported = watch.seconds
                report(event)

    def _conclude(self, event: Event, request: WrapperRequest, watch: Watch) -> Done:
        """A run's last event as its result, or the error that it tells of."""
        if isinstance(event, events.Canceled):
            raise make_error("canceled")
        if isinstance(event, events.Failed):
            error = error_of_failure(event, stderr_tail=self._tail())
            if error.code in ("gpu_lost", "wrapper_fault"):
                self._end_now()  # it cannot work any more
            raise error
        if not isinstance(event, events.Finished):
            raise make_error("wrapper_fault")
        outputs = check_outputs(event, request.output_dir, self.program.output_limits)
        return Done(
            outputs=outputs,
            seconds=event.seconds,
            peak_memory_bytes=self._in_use(event.peak_memory_bytes, watch.peak_bytes),
            seed=event.seed if event.seed is not None else request.seed,
            notes=event.notes,
            facts=event.facts,
        )

    def _watch(
        self, limit_s: float | None, is_canceled: IsCanceled, *, folder: Path | None = None, **more: Any
    ) -> Watch:
        return Watch(
            limit_s=limit_s,
            patience=self.program.patience,
            is_canceled=is_canceled,
            log=self.log,
            limits=self.program.output_limits,
            folder=folder,
            memory_bytes=self._memory,
            **more,
        )

    def _in_use(self, told: int | None, measured: int) -> int | None:
        """What the model uses of its device: on the CPU we see it, elsewhere only the wrapper can tell."""
        if told and self._device != "cpu":
            return told
        return max(told or 0, measured) or None

    def _memory(self) -> int:
        return self.memory_bytes() or 0

    def _time_limit(self, request: WrapperRequest) -> float | None:
        """Ours: a little more than the wrapper's own, which says more where it keeps it."""
        limits = [limit for limit in (request.timeout_s, self.program.patience.run_s) if limit is not None]
        return min(limits) + 1.0 if limits else None
