"""Runs a `Model` in the protocol's three modes: describe, one-shot and resident.

The real standard output belongs to the protocol: it is taken away before the model is loaded, so that what
a model's libraries print goes to stderr. The main thread loads and runs, one thing at a time; in resident
mode a second thread reads commands, so that cancel and health are answered while a run is at work.
Every run ends in exactly one of `done`, `failed`, `canceled`, unless the process dies.
"""

from __future__ import annotations

import argparse
import os
import queue
import select
import signal
import sys
import threading
import traceback
from typing import Any, BinaryIO, Callable

import protocol
from contract import Model
from protocol import EventWriter, Failure, Request
from runs import Run, Session, end_later
from symptoms import failure_of


def claim_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The caller's pipes, (commands in, events out); descriptors 0 and 1 become /dev/null and stderr."""
    commands, events = os.dup(0), os.dup(1)  # not inherited by processes that a model starts
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    # What a model prints belongs beside what it logs, in the moment it is said, also when it is killed then.
    sys.stdout.reconfigure(line_buffering=True)
    return os.fdopen(commands, "rb"), os.fdopen(events, "wb")


def watch_caller(writer: EventWriter) -> None:
    """Hear of it when nobody reads the events any more: a silent run would notice only when it speaks."""
    poll = getattr(select, "poll", None)
    if poll is None:
        return
    watched = poll()
    watched.register(writer.stream.fileno(), 0)  # errors only; a file never has any

    def wait() -> None:
        if any(state & (select.POLLERR | select.POLLHUP) for _, state in watched.poll()):
            writer.on_broken()

    threading.Thread(target=wait, name="caller", daemon=True).start()


def run_one(model: Model, path: str, writer: EventWriter) -> int:
    """One-shot: the request in this file, then the end. Returns the exit code."""
    session, id = Session(model, writer), None
    try:
        with open(path, "rb") as file:
            text = file.read(protocol.MAX_LINE_BYTES + 1)
        if len(text) > protocol.MAX_LINE_BYTES:
            raise Failure("invalid_request", f"The request is longer than {protocol.MAX_LINE_BYTES} bytes.")
        value = protocol.parse_object(text)
        id = value["id"] if isinstance(value.get("id"), str) else None
        request = protocol.parse_request(value)
    except (OSError, Failure) as error:
        refused = Failure("invalid_request", str(error))
        writer.write(refused.event(id))
        return refused.exit_code
    run = Run(request.id, writer)

    def stop(*_: object) -> None:
        run.canceled.set()
        last = {"event": "canceled", "id": run.id}
        end_later(lambda: run.finish(last), protocol.EXIT_CANCELED, unless=lambda: run.finished)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    writer.on_broken = stop
    watch_caller(writer)
    return session.execute(run, request)


class _Resident:
    """Commands in, events out, until shutdown or the end of the commands."""

    def __init__(self, model: Model, commands: BinaryIO, writer: EventWriter) -> None:
        self._session = Session(model, writer)
        self._commands, self._writer = commands, writer
        # Not queue.Queue: a signal handler puts into it while the same thread may be inside get().
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._runs: dict[str, Run] = {}
        self._stopping, self._exit_code = False, protocol.EXIT_DONE

    def serve(self) -> int:
        """Returns the exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        # A caller that starts it with SIGINT ignored interrupts runs by a command: the model stays warm.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
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
        run = self._runs[request.id] = Run(request.id, self._writer)
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

    def _run(self, run: Run, request: Request) -> None:
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
        watch_caller(writer)
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
