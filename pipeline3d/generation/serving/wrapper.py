"""Wrappers as objects: the same few verbs for a program that stays and for one that runs once per request.

Whatever a wrapper does, the caller gets a `Done` whose files exist or one of our errors with its code; and
whenever that takes more than the program's own good will, the program is ended with all that it started.
"""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from pipeline3d.errors import Pipeline3dError
from pipeline3d.generation.serving import events
from pipeline3d.generation.serving.capped_log import LIMIT as LOG_LIMIT
from pipeline3d.generation.serving.capped_log import CappedLog
from pipeline3d.generation.serving.events import Event, WrapperRequest, parse_event, write_command
from pipeline3d.generation.serving.failures import error_of_exit, error_of_failure, make_error
from pipeline3d.generation.serving.outputs import Done, OutputLimits, check_outputs
from pipeline3d.generation.serving.process import (
    LONGEST_LINE,
    KeptProcess,
    LineTooLong,
    OutputEnded,
    ProcessLimits,
)
from pipeline3d.generation.serving.watching import TICK_S, IsCanceled, Patience, Watch

Mode = Literal["resident", "one_shot"]
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


def never() -> bool:
    """Nobody cancels."""
    return False


def no_report(_progress: events.Progress) -> None:
    """Nobody looks."""


def start_wrapper(program: WrapperProgram, log_path: Path, *, mode: Mode = "resident") -> Wrapper:
    """Start a program that stays, and wait until it is ready; one that runs once starts with its run."""
    kinds: dict[Mode, type[Wrapper]] = {"resident": ResidentWrapper, "one_shot": OneShotWrapper}
    return kinds[mode](program, log_path)


class Wrapper(ABC):
    """One wrapper; one run at a time."""

    def __init__(self, program: WrapperProgram, log_path: Path) -> None:
        self.program = program
        self.log = CappedLog(log_path, limit=program.log_limit)
        self._log_mark = 0
        self._process: KeptProcess | None = None
        self._closed = False

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

    def read_log(self) -> bytes:
        """What it wrote to standard error since its last run began; of a long one, the middle is left out."""
        return self.log.read(self._log_mark)

    def close(self) -> None:
        """End it with all that it started. Harmless when it has ended."""
        self._closed = True
        if self._process is not None:
            self._process.end()
        self.log.close()

    # -- shared by both

    def _start(self, *arguments: str, ignore_interrupt: bool = False) -> KeptProcess:
        return KeptProcess(
            [*self.program.command, *arguments],
            environment=self.program.environment,
            log=self.log,
            limits=self.program.limits,
            folder=self.program.folder,
            ignore_interrupt=ignore_interrupt,
        )

    def _tail(self) -> str:
        return self.log.tail(self._log_mark)

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
        peak = event.peak_memory_bytes if event.peak_memory_bytes is not None else watch.peak_bytes or None
        return Done(
            outputs=outputs,
            seconds=event.seconds,
            peak_memory_bytes=peak,
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

    def _memory(self) -> int:
        return self.memory_bytes() or 0

    def _time_limit(self, request: WrapperRequest) -> float | None:
        """Ours: a little more than the wrapper's own, which says more where it keeps it."""
        limits = [limit for limit in (request.timeout_s, self.program.patience.run_s) if limit is not None]
        return min(limits) + 1.0 if limits else None


_RUN_ENDS = (events.Finished, events.Failed, events.Canceled)


class ResidentWrapper(Wrapper):
    """A wrapper that stays: loads once, works on many requests."""

    def __init__(self, program: WrapperProgram, log_path: Path) -> None:
        super().__init__(program, log_path)
        self._ids = itertools.count(1)
        self._running = self._start("--serve", ignore_interrupt=True)
        self._process = self._running
        try:
            ready = self._await(
                self._running, None, self._watch(program.patience.start_s, never), ends_with=(events.Ready,)
            )
            if not isinstance(ready, events.Ready) or ready.protocol != events.PROTOCOL:
                raise make_error("wrapper_fault", "The wrapper speaks another version of the protocol.")
        except BaseException:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it can take a request."""
        return not self._closed and self._running.exit_code is None

    def load(self, params: Mapping[str, Any] | None = None, is_canceled: IsCanceled = never) -> events.Loaded:
        """Bring the model into memory. A wrapper that fails to is ended."""
        event = self._command(
            "load", self.program.patience.load_s, events.Loaded, is_canceled, params=dict(params or {})
        )
        if not isinstance(event, events.Loaded):
            self._fail(make_error("wrapper_fault"))
        measured = event.memory_bytes if event.memory_bytes is not None else self.memory_bytes()
        return replace(event, memory_bytes=measured)

    def run(
        self, request: WrapperRequest, report: Report = no_report, is_canceled: IsCanceled = never
    ) -> Done:
        """Work on a request. Called off, it leaves the model warm where the wrapper agrees in time."""
        self._log_mark = self.log.written
        watch = self._watch(
            self._time_limit(request), is_canceled, folder=request.output_dir, ask=self._ask_for_life
        )
        self._send(write_command("run", request.id, request=request.as_json()))
        try:
            event = self._await(self._running, request.id, watch, report, ends_with=_RUN_ENDS)
        except BaseException as error:
            self._call_off(request.id, error)
            raise
        with suppress(Pipeline3dError):
            watch.measure()
        return self._conclude(event, request, watch)

    def health(self) -> events.Health | None:
        """What the wrapper says of itself. One that says nothing is ended: TransientFailure."""
        event = self._command("health", self.program.patience.answer_s, events.Health)
        return event if isinstance(event, events.Health) else None

    def free(self) -> None:
        """Have it give back memory that it only caches."""
        self._command("free", self.program.patience.answer_s, events.Acknowledged)

    def unload(self) -> None:
        """Have it forget the model."""
        self._command("unload", self.program.patience.answer_s, events.Acknowledged)

    def close(self) -> None:
        """End it: it may shut down in order, and is killed where it does not."""
        if not self._closed and self.is_alive:
            with suppress(OSError):
                self._running.write_line(write_command("shutdown"), timeout_s=0.2)
            self._running.wait(0.5)
        super().close()

    def _command(
        self,
        operation: str,
        limit_s: float,
        answer: type[Event],
        is_canceled: IsCanceled = never,
        **more: Any,
    ) -> Event:
        command_id = f"{operation}-{next(self._ids)}"
        # a load tells that it lives by its answers about health; the short commands have only their limit
        ask = self._ask_for_life if operation == "load" else None
        self._send(write_command(operation, command_id, **more))
        try:
            watch = self._watch(limit_s, is_canceled, ask=ask)
            event = self._await(self._running, command_id, watch, ends_with=(answer, events.Failed))
        except Pipeline3dError as error:
            if error.code == "timeout":
                error = make_error(
                    "script_hung", f"The model's program did not {operation} in {limit_s:g} s."
                )
            self._fail(error)
        except BaseException:
            self._end_now()
            raise
        if isinstance(event, events.Failed):
            failure = error_of_failure(event, stderr_tail=self._tail())
            if operation == "load":
                self._end_now()
            raise failure
        return event

    def _send(self, line: bytes) -> None:
        if len(line) > LONGEST_LINE:
            raise make_error("invalid_request", f"The request has {len(line):,} bytes, more than a line may.")
        try:
            self._running.write_line(line)
        except TimeoutError:
            self._fail(make_error("script_hung", "The model's program does not read its commands."))
        except OSError:
            self._end_now()
            raise error_of_exit(self._running.exit_code or 1, stderr_tail=self._tail()) from None

    def _ask_for_life(self) -> None:
        self._send(write_command("health", f"health-{next(self._ids)}"))

    def _call_off(self, run_id: str, error: BaseException) -> None:
        """End a run that nobody waits for: by asking where it is only unwanted, else with the whole program.

        A second interruption, or whatever else comes in between, ends the program too.
        """
        unwanted = not isinstance(error, Pipeline3dError) or error.code == "canceled"
        agreed = False
        try:
            agreed = unwanted and self.is_alive and self._ask_to_cancel(run_id)
        finally:
            if not agreed:
                self._end_now()
            if isinstance(error, Pipeline3dError) and (tail := self._tail()):
                error.details.setdefault("stderr_tail", tail)

    def _ask_to_cancel(self, run_id: str) -> bool:
        """Whether it ended the run within the grace."""
        deadline = time.monotonic() + self.program.patience.cancel_s
        try:
            self._running.write_line(write_command("cancel", run_id), timeout_s=0.2)
            while (left_s := deadline - time.monotonic()) > 0:
                event = self._next_event(self._running, left_s)
                if event is not None and event.id == run_id and isinstance(event, _RUN_ENDS):
                    return True
        except (OSError, Pipeline3dError):
            return False
        return False


class OneShotWrapper(Wrapper):
    """A wrapper that is started for each request and ends with it."""

    def load(self, params: Mapping[str, Any] | None = None, is_canceled: IsCanceled = never) -> events.Loaded:
        """Nothing yet: the program loads its model in the run."""
        return events.Loaded()

    def run(
        self, request: WrapperRequest, report: Report = no_report, is_canceled: IsCanceled = never
    ) -> Done:
        """Work on a request in a process of its own, which is gone when this returns."""
        self._log_mark = self.log.written
        order = self.log.path.with_suffix(".request.json")
        order.touch(mode=0o600)
        order.write_bytes(events.write_request(request))
        process = self._process = self._start("--request", str(order))
        watch = self._watch(self._time_limit(request), is_canceled, folder=request.output_dir)
        try:
            event = self._await(process, request.id, watch, report, ends_with=_RUN_ENDS)
            process.wait(EXIT_WITHIN_S)
        except Pipeline3dError as error:
            self._call_off(process, error)
            raise
        finally:
            process.end()
            self._process = None
            order.unlink(missing_ok=True)
        done = self._conclude(event, request, watch)
        exit_code = process.exit_code
        if exit_code:
            note = f"The model's program ended with exit code {exit_code} after its result."
            done = replace(done, notes=(*done.notes, note))
        return done

    def health(self) -> events.Health | None:
        """Nothing runs between requests."""
        return None

    def free(self) -> None:
        """Nothing is cached between requests."""

    def unload(self) -> None:
        """Nothing is loaded between requests."""

    def _call_off(self, process: KeptProcess, error: Pipeline3dError) -> None:
        if error.code != "canceled":
            process.kill()  # asked to end, it has the chance to write for seconds more
        if tail := self._tail():
            error.details.setdefault("stderr_tail", tail)
