"""A wrapper that stays: started once, loaded once, with commands on its standard input."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline3d.errors import Pipeline3dError
from pipeline3d.generation.serving import events
from pipeline3d.generation.serving.events import Event, WrapperRequest, write_command
from pipeline3d.generation.serving.failures import error_of_exit, error_of_failure, make_error
from pipeline3d.generation.serving.outputs import Done
from pipeline3d.generation.serving.process import LONGEST_LINE
from pipeline3d.generation.serving.watching import IsCanceled
from pipeline3d.generation.serving.wrapper import (
    RUN_ENDS,
    Report,
    Wrapper,
    WrapperProgram,
    never,
    no_report,
)

SHUTDOWN_S = 0.5
"""A wrapper that was told to shut down has this long before it is told by signals."""


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
        except Pipeline3dError as error:
            if error.code == "timeout":
                error = make_error("script_hung", f"It was not ready in {program.patience.start_s:g} s.")
            try:
                self._fail(error)
            finally:
                self.close()
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
        self._device, self._told_bytes = event.device, event.memory_bytes
        return replace(event, memory_bytes=self._in_use(event.memory_bytes, self._memory()))

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
            event = self._await(self._running, request.id, watch, report, ends_with=RUN_ENDS)
        except BaseException as error:
            self._call_off(request.id, error)
            raise
        return self._conclude(event, request, watch)

    def health(self) -> events.Health | None:
        """What the wrapper says of itself. One that says nothing is ended: TransientFailure."""
        event = self._command("health", self.program.patience.answer_s, events.Health)
        if not isinstance(event, events.Health):
            return None
        self._told_bytes, self._told_rss = event.memory_bytes, event.rss_bytes
        return event

    def free(self) -> None:
        """Have it give back memory that it only caches."""
        self._command("free", self.program.patience.answer_s, events.Acknowledged)

    def unload(self) -> None:
        """Have it forget the model."""
        self._command("unload", self.program.patience.answer_s, events.Acknowledged)

    def close(self) -> None:
        """End it: it may shut down in order, and is killed where it does not."""
        try:
            if not self._closed and self.is_alive:
                with suppress(OSError):
                    self._running.write_line(write_command("shutdown"), timeout_s=0.2)
                self._running.wait(SHUTDOWN_S)
        finally:
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
                if event is not None and event.id == run_id and isinstance(event, RUN_ENDS):
                    return True
        except (OSError, Pipeline3dError):
            return False
        return False
