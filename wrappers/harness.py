"""Runs a `Model` in the protocol's three modes: describe, one-shot and resident.

The real standard output belongs to the protocol: it is taken away before the model is loaded, so that what
a model's libraries print goes to stderr. The main thread loads and runs, one thing at a time; in resident
mode a second thread reads commands, so that cancel and health are answered while a run is at work.
Every run ends in exactly one of `done`, `failed`, `canceled`, unless the process dies.
"""

from __future__ import annotations

import argparse
import math
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable

import protocol
from protocol import Canceled, EventWriter, Failure, Request, Result
from symptoms import failure_of

GRACE_S = 10.0
"""So long a run may take to notice that it is canceled or out of time before the process ends itself."""
PROGRESS_INTERVAL_S = 0.1
at_hard_exit: list[Callable[[], None]] = []
"""Called before the process ends without unwinding: whoever starts processes ends them here."""


@dataclass(frozen=True)
class Readiness:
    """Whether the model could run here, as far as can be told without importing it."""

    ready: bool
    reason: str | None = None
    needs: tuple[str, ...] = ()


class Model:
    """What a wrapper implements. Methods are called by one thread, except `memory_bytes`."""

    name = ""
    version = "1"
    kind = ""
    modes: tuple[str, ...] = ("one_shot", "resident")
    environment: tuple[str, ...] = ()
    """Variables that the caller has to pass on, beside the protocol's own list."""
    description = ""
    licence: str | None = None

    def __init__(self, resident: bool) -> None:
        self.resident = resident

    @classmethod
    def readiness(cls) -> Readiness:
        """Looks at variables and files; never imports the model."""
        return Readiness(True)

    def load(self, params: dict[str, Any], report: Report) -> str:
        """Make ready for runs; returns the device, 'cpu' or 'cuda:0'. Called once until `unload`."""
        return "cpu"

    def run(self, request: Request, report: Report, is_canceled: Callable[[], bool]) -> Result:
        """Do the work. Raises Failure, or Canceled soon after `is_canceled()` became true."""
        raise NotImplementedError

    def unload(self) -> None:
        """Forget the model and give all memory back that can be given back."""

    def free(self) -> None:
        """Give cached device memory back and keep the model."""

    def memory_bytes(self) -> int | None:
        """Bytes of device memory in use; called from another thread at any time."""
        return None


class Report:
    """How a run tells of itself; every method may be called from any thread."""

    def __init__(self, writer: EventWriter, id: str | None) -> None:
        self._writer, self._id = writer, id
        self._told_at = -math.inf
        self.notes: list[str] = []

    def progress(
        self, fraction: float, message: str, step: int | None = None, steps: int | None = None
    ) -> None:
        """Tell how far the run is, 0 to 1; more than ten a second are left out, the end never is."""
        now = time.monotonic()
        if math.isnan(fraction) or (now - self._told_at < PROGRESS_INTERVAL_S and fraction < 1):
            return
        self._told_at = now
        event = {"event": "progress", "id": self._id, "fraction": min(1.0, max(0.0, float(fraction)))}
        self._writer.write(dict(event, message=message, step=step, steps=steps))

    def log(self, level: str, message: str) -> None:
        """Tell something; level is 'info' or 'warning'."""
        self._writer.write({"event": "log", "id": self._id, "level": level, "message": message})

    def note(self, message: str) -> None:
        """Tell what the user of the result has to know: a warning now, and again in `done`."""
        if message not in self.notes:
            self.notes.append(message)
            self.log("warning", message)


class _Run:
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


def claim_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The caller's pipes, (commands in, events out); descriptors 0 and 1 become /dev/null and stderr."""
    commands, events = os.dup(0), os.dup(1)  # not inherited by processes that a model starts
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    return os.fdopen(commands, "rb"), os.fdopen(events, "wb")


class _Session:
    """The model, whether it is loaded, and how runs are carried out; used by both modes."""

    def __init__(self, model: Model, writer: EventWriter) -> None:
        self.model, self.writer = model, writer
        self.device: str | None = None
        self.state, self.runs, self.loads = "empty", 0, 0

    def load(self, id: str | None, params: dict[str, Any]) -> None:
        """Load unless loaded, and say so. Raises Failure."""
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
                self.state = "empty" if self.device is None else "idle"
        event = {"event": "loaded", "id": id, "load_s": round(time.monotonic() - started, 4)}
        self.writer.write(dict(event, memory_bytes=self.model.memory_bytes(), device=self.device))

    def unload(self) -> None:
        """Forget the model."""
        self.device, self.state = None, "empty"
        self.model.unload()

    def execute(self, run: _Run, request: Request) -> int:
        """Carry out one request and send its last event; returns the exit code that a one-shot ends with."""
        started = time.monotonic()
        clock = run.start_clock(request.timeout_s)
        try:
            if run.canceled.is_set():
                raise Canceled
            if self.device is None:
                self.load(run.id, request.params)
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

    def _done(self, run: _Run, result: Result, seconds: float) -> dict[str, Any]:
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

    def _unfinished(self, run: _Run, request: Request, error: BaseException) -> tuple[dict[str, Any], int]:
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


def run_one(model: Model, path: str, writer: EventWriter) -> int:
    """One-shot: the request in this file, then the end. Returns the exit code."""
    session = _Session(model, writer)
    try:
        with open(path, "rb") as file:
            text = file.read(protocol.MAX_LINE_BYTES + 1)
        if len(text) > protocol.MAX_LINE_BYTES:
            raise Failure("invalid_request", f"The request is longer than {protocol.MAX_LINE_BYTES} bytes.")
        request = protocol.parse_request(protocol.parse_object(text))
    except (OSError, Failure) as error:
        refused = Failure("invalid_request", str(error))
        writer.write(refused.event(None))
        return refused.exit_code
    run = _Run(request.id, writer)

    def stop(*_: object) -> None:
        run.canceled.set()
        last = {"event": "canceled", "id": run.id}
        end_later(lambda: run.finish(last), protocol.EXIT_CANCELED, unless=lambda: run.finished)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    writer.on_broken = stop
    return session.execute(run, request)


class _Resident:
    """Commands in, events out, until shutdown or the end of the commands."""

    def __init__(self, model: Model, commands: BinaryIO, writer: EventWriter) -> None:
        self._session = _Session(model, writer)
        self._commands, self._writer = commands, writer
        # Not queue.Queue: a signal handler puts into it while the same thread may be inside get().
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._runs: dict[str, _Run] = {}
        self._stopping, self._exit_code = False, protocol.EXIT_DONE

    def serve(self) -> int:
        """Returns the exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.signal(signal.SIGINT, lambda *_: self.stop())
        name = self._session.model.name
        self._writer.write(
            {"event": "ready", "protocol": protocol.PROTOCOL, "name": name, "pid": os.getpid()}
        )
        threading.Thread(target=self._read_commands, name="commands", daemon=True).start()
        while True:
            work = self._work.get()
            if work is None:
                return self._exit_code
            work()

    def stop(self) -> None:
        """End after the present run, which is canceled; without waiting for ever."""
        if self._stopping:
            return
        self._stopping = True
        for run in list(self._runs.values()):
            run.canceled.set()
        self._work.put(None)
        # The end of the process ends the timer; a run that does not listen does not.
        end_later(lambda: None, protocol.EXIT_CANCELED, unless=lambda: False)

    def _read_commands(self) -> None:
        while True:
            id = None
            try:
                line = protocol.read_line(self._commands)
                if line is None:
                    return self.stop()
                if not line.strip():
                    continue
                command = protocol.parse_object(line)
                id = command["id"] if isinstance(command.get("id"), str) else None
                self._handle(command, id)
            except Failure as failure:
                self._writer.write(failure.event(id))
            except OSError:
                return self.stop()

    def _handle(self, command: dict[str, Any], id: str | None) -> None:
        op = command.get("op")
        if op == "run":
            self._accept(command.get("request"), id)
        elif op == "cancel":
            self._cancel(id)
        elif op == "health":
            self._writer.write(self._session.health(id))
        elif op == "shutdown":
            self.stop()
        elif op == "load":
            params = command.get("params")
            self._work.put(lambda: self._load(id, params if isinstance(params, dict) else {}))
        elif op == "unload":
            self._work.put(lambda: self._tell(self._session.unload, {"event": "unloaded", "id": id}))
        elif op == "free":
            self._work.put(lambda: self._tell(self._session.model.free, {"event": "freed", "id": id}))
        else:
            raise Failure("invalid_request", f"{str(op)[:80]!r} is not a command of the protocol.")

    def _accept(self, value: Any, id: str | None) -> None:
        request = protocol.parse_request(value)
        if id not in (None, request.id):
            raise Failure("invalid_request", f"The command is for {id!r}, its request for {request.id!r}.")
        if request.id in self._runs:
            # Not under its id: that would end the first run of this name for the caller.
            refusal = Failure("invalid_request", f"A run {request.id!r} is on its way already.")
            return self._writer.write(refusal.event(None))
        run = self._runs[request.id] = _Run(request.id, self._writer)
        self._work.put(lambda: self._run(run, request))

    def _cancel(self, id: str | None) -> None:
        run = self._runs.get(id or "")
        if run is not None:
            run.canceled.set()
        else:
            self._writer.write(
                {"event": "log", "id": id, "level": "warning", "message": "There is no such run to cancel."}
            )

    def _load(self, id: str | None, params: dict[str, Any]) -> None:
        try:
            self._session.load(id, params)
        except Failure as failure:
            self._fail(failure, id)

    def _tell(self, action: Callable[[], None], event: dict[str, Any]) -> None:
        try:
            action()
            self._writer.write(event)
        except Exception as error:
            traceback.print_exc()
            self._fail(failure_of(error), event["id"])

    def _fail(self, failure: Failure, id: str | None) -> None:
        self._writer.write(failure.event(id))
        self._end_if_lost(failure.exit_code)

    def _run(self, run: _Run, request: Request) -> None:
        code = self._session.execute(run, request)
        del self._runs[run.id]
        self._end_if_lost(code)

    def _end_if_lost(self, code: int) -> None:
        """A process whose device is lost can do no more: its context is broken until it ends."""
        if code == protocol.EXIT_CODES["gpu_lost"]:
            self._exit_code = code
            self.stop()


def main(make_model: Callable[[bool], Model], arguments: list[str]) -> int:
    """The command line of a wrapper; `make_model` is its class. Returns the exit code."""
    parser = argparse.ArgumentParser(description=getattr(make_model, "description", None))
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--describe", action="store_true", help="one JSON object about this wrapper, then end")
    mode.add_argument("--request", metavar="FILE", help="carry out the request in this file, then end")
    mode.add_argument("--serve", action="store_true", help="read commands from standard input until it ends")
    options = parser.parse_args(arguments)
    if options.serve and "resident" not in getattr(make_model, "modes", ("resident",)):
        parser.error("this model is not kept loaded; use --request")
    commands, events = claim_standard_streams()
    writer = EventWriter(events)
    try:
        model = make_model(bool(options.serve))
        if options.describe:
            writer.write(describe(model))
            return protocol.EXIT_DONE
        if options.request is not None:
            return run_one(model, options.request, writer)
        resident = _Resident(model, commands, writer)
        writer.on_broken = resident.stop
        return resident.serve()
    except Exception as error:
        traceback.print_exc()
        fault = Failure("wrapper_fault", f"The wrapper itself failed: {type(error).__name__}: {error}")
        writer.write(fault.event(None))
        return fault.exit_code


def describe(model: Model) -> dict[str, Any]:
    """What --describe says."""
    readiness = model.readiness()
    return {
        "protocol": protocol.PROTOCOL,
        "name": model.name,
        "version": model.version,
        "modes": list(model.modes),
        "kind": model.kind,
        "environment": list(model.environment),
        "ready": readiness.ready,
        "reason": readiness.reason,
        "needs": list(readiness.needs),
        "description": model.description,
        "licence": model.licence,
    }
