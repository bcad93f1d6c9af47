"""One run from its start to the single word that ends it, under a clock, on a model that is loaded once."""

from __future__ import annotations

import os
import resource
import threading
import time
import traceback
from typing import Any, Callable

import protocol
from contract import Model, Report
from protocol import Canceled, EventWriter, Failure, Request, Result
from symptoms import failure_of

GRACE_S = 10.0
"""So long a run may take to notice that it is canceled or out of time before the process ends itself."""
at_hard_exit: list[Callable[[], None]] = []
"""Called before the process ends without unwinding: whoever starts processes ends them here."""


class Run:
    """One request on its way, and the single word that ends it."""

    def __init__(self, id: str, writer: EventWriter) -> None:
        self.id = id
        self.report = Report(writer, id)
        self.canceled, self.timed_out = threading.Event(), False
        self._writer, self._lock, self._finished = writer, threading.Lock(), False

    def finish(self, event: dict[str, Any]) -> bool:
        """Send the last event of this run, once; False where another thread was first."""
        with self._lock:
            first, self._finished = not self._finished, True
        if first:
            self._writer.write(event)
        return first

    @property
    def finished(self) -> bool:
        """Whether its last event was sent."""
        return self._finished

    def start_clock(self, timeout_s: float | None) -> threading.Timer | None:
        """After the time-out ask the run to stop; after the grace time end the process."""
        if timeout_s is None:
            return None
        clock = threading.Timer(timeout_s, self._expire, [timeout_s])
        clock.daemon = True
        clock.start()
        return clock

    def _expire(self, timeout_s: float) -> None:
        if self.finished:
            return
        self.timed_out = True
        self.canceled.set()
        end_later(
            lambda: self.finish(_timeout(timeout_s).event(self.id)),
            protocol.EXIT_CODES["timeout"],
            unless=lambda: self.finished,
        )


def _timeout(timeout_s: float | None) -> Failure:
    return Failure(
        "timeout", f"The run was not done within {timeout_s:g} s.", "Allow more time or ask for less."
    )


def end_later(last_words: Callable[[], Any], code: int, *, unless: Callable[[], bool]) -> None:
    """After the grace time end this process the hard way, unless that is no longer needed."""

    def end() -> None:
        if not unless():
            last_words()
            hard_exit(code)

    timer = threading.Timer(GRACE_S, end)
    timer.daemon = True
    timer.start()


def hard_exit(code: int) -> None:
    """End at once, with what this process started: for a model that does not listen."""
    for action in at_hard_exit:
        action()
    os._exit(code)


class Session:
    """The model, whether it is loaded, and how runs are carried out; used by both modes."""

    def __init__(self, model: Model, writer: EventWriter) -> None:
        self.model, self.writer = model, writer
        self.device: str | None = None
        self.state, self.runs, self.loads = "empty", 0, 0

    def load(self, id: str | None, params: dict[str, Any], *, then: str = "idle") -> None:
        """Load unless loaded, and say so; `then` is the state afterwards. Raises Failure."""
        started = time.monotonic()
        if self.device is None:
            self.state = "loading"
            try:
                self.device = self.model.load(params, Report(self.writer, id))
                self.loads += 1
            except (Exception, SystemExit) as error:
                traceback.print_exc()
                raise failure_of(error) from error
            finally:
                self.state = "empty" if self.device is None else then
        event = {"event": "loaded", "id": id, "load_s": round(time.monotonic() - started, 4)}
        self.writer.write(dict(event, memory_bytes=self.model.memory_bytes(), device=self.device))

    def unload(self) -> None:
        """Forget the model."""
        self.device, self.state = None, "empty"
        self.model.unload()

    def execute(self, run: Run, request: Request) -> int:
        """Carry out one request and send its last event; returns the exit code that a one-shot ends with."""
        started = time.monotonic()
        clock = run.start_clock(request.timeout_s)
        try:
            if run.canceled.is_set():
                raise Canceled
            if self.device is None:
                self.load(run.id, request.params, then="busy")
            self.state = "busy"
            result = self.model.run(request, run.report, run.canceled.is_set)
            _check_outputs(request, result)
            event, code = self._done(run, result, time.monotonic() - started), protocol.EXIT_DONE
        except (Exception, SystemExit) as error:
            event, code = self._unfinished(run, request, error)
        finally:
            if clock is not None:
                clock.cancel()
            self.runs += 1
            self.state = "empty" if self.device is None else "idle"
        run.finish(event)
        return code

    def _done(self, run: Run, result: Result, seconds: float) -> dict[str, Any]:
        return {
            "event": "done",
            "id": run.id,
            "outputs": [output.wire() for output in result.outputs],
            "seconds": round(seconds, 4),
            "peak_memory_bytes": result.peak_memory_bytes,
            "seed": result.seed,
            "notes": list(run.report.notes),
            "facts": dict({"loads": self.loads}, **result.facts),
        }

    def _unfinished(self, run: Run, request: Request, error: BaseException) -> tuple[dict[str, Any], int]:
        if run.timed_out:
            failure = _timeout(request.timeout_s)
        elif isinstance(error, Canceled) or run.canceled.is_set():
            return {"event": "canceled", "id": run.id}, protocol.EXIT_CANCELED
        else:
            if not isinstance(error, Failure):
                traceback.print_exception(type(error), error, error.__traceback__)
            failure = failure_of(error)
        if failure.code == "out_of_memory" and self.device is not None:
            self.model.free()
        return failure.event(run.id), failure.exit_code

    def health(self, id: str | None) -> dict[str, Any]:
        """What the caller plans with."""
        return {
            "event": "health",
            "id": id,
            "state": self.state,
            "rss_bytes": resident_bytes(),
            "memory_bytes": self.model.memory_bytes(),
            "runs": self.runs,
            "loaded": self.device is not None,
        }


def _check_outputs(request: Request, result: Result) -> None:
    """What is handed over exists, has content and lies in the output directory. Raises Failure."""
    if not result.outputs:
        raise Failure("empty_output", "The model ended without an error and made nothing.")
    for output in result.outputs:
        path = os.path.realpath(output.path)
        if not path.startswith(request.output_dir + os.sep) or not os.path.isfile(path):
            raise Failure("wrapper_fault", f"{output.name} is not a file in the output directory.")
        if os.path.getsize(path) == 0:
            raise Failure("empty_output", f"The model left {output.name} empty.")


def resident_bytes() -> int:
    """Memory of this process that is in RAM; the peak where the system does not tell the present."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
