"""What a wrapper is asked and what it says: the values of the protocol, and their JSON.

Pure. `parse_event` believes nothing: a field of a wrong type or out of range makes the whole line malformed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

PROTOCOL = 1
LONGEST_TEXT = 4000
"""Characters of a message that are kept; a wrapper may quote a whole log."""
_MAX_NOTES = 100
REDUCTION_PARAM = "memory_divisor"
"""The parameter that asks a wrapper to work in pieces of a half or a quarter of the usual size."""


class MalformedEvent(ValueError):
    """A line that is not an event of the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapperRequest:
    """One run. `output_dir` exists and is empty; `timeout_s` None leaves the wrapper's own patience."""

    id: str
    task: str = "generate"
    images: tuple[Path, ...] = ()
    resume_dir: Path | None = None
    prompt: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    output_dir: Path
    timeout_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The request object of the protocol."""
        return {
            "id": self.id,
            "task": self.task,
            "inputs": {
                "images": [str(path) for path in self.images],
                "resume_dir": None if self.resume_dir is None else str(self.resume_dir),
            },
            "prompt": self.prompt,
            "params": dict(self.params),
            "seed": self.seed,
            "output_dir": str(self.output_dir),
            "limits": {"timeout_s": self.timeout_s},
        }

    def reduced(self, divisor: int) -> WrapperRequest:
        """The same request, worked on in smaller pieces: `divisor` 1 changes nothing."""
        if divisor == 1:
            return self
        return replace(self, params={**self.params, REDUCTION_PARAM: divisor})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that a wrapper says; `id` names what it answers."""

    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Event):
    """A resident wrapper takes commands from now on."""

    protocol: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Event):
    """The model is in memory. `memory_bytes` None where the wrapper does not know."""

    load_s: float = 0.0
    memory_bytes: int | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """How far a run is, from 0 to 1."""

    fraction: float
    message: str = ""
    step: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine(Event):
    """A remark."""

    level: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldOutput:
    """A file as the wrapper tells of it; nothing about it is checked yet."""

    name: str
    path: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The run is done, says the wrapper."""

    outputs: tuple[ToldOutput, ...]
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The command failed, and why."""

    code: str
    message: str
    hint: str | None = None
    retryable: bool = False
    needed_bytes: int | None = None
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled(Event):
    """The run ended because it was asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Event):
    """A sign of life."""

    state: str
    rss_bytes: int = 0
    memory_bytes: int | None = None
    runs: int = 0
    loaded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged(Event):
    """`unloaded` or `freed`."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(Event):
    """An event of a later protocol: a sign of life and nothing more."""

    what: str


def write_command(operation: str, command_id: str | None = None, **more: Any) -> bytes:
    """One command as a line without its end."""
    command = {"op": operation, **({} if command_id is None else {"id": command_id}), **more}
    return json.dumps(command, ensure_ascii=True, allow_nan=False).encode()


def write_request(request: WrapperRequest) -> bytes:
    """The file of a one-shot run."""
    return json.dumps(request.as_json(), ensure_ascii=True, allow_nan=False).encode()


def parse_event(line: bytes) -> Event:
    """Read one line of a wrapper. Raises MalformedEvent."""
    fields = _Fields(parse_object(line))
    kind = fields.text("event")
    identity = fields.optional_text("id")
    read = _READERS.get(kind)
    return Unknown(id=identity, what=kind) if read is None else read(fields, identity)


def parse_object(line: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, without NaN and infinities. Raises MalformedEvent."""
    try:
        found = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise MalformedEvent(f"a {type(found).__name__} where an object was expected")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class _Fields:
    """Typed access to a decoded object."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def text(self, name: str) -> str:
        value = self._found.get(name)
        if not isinstance(value, str):
            raise MalformedEvent(f"{name} is {_kind(value)}, not a text")
        return value[:LONGEST_TEXT]

    def optional_text(self, name: str) -> str | None:
        return None if self._found.get(name) is None else self.text(name)

    def number(self, name: str, default: float | None = None) -> float:
        value = self._found.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MalformedEvent(f"{name} is {_kind(value)}, not a number")
        if not math.isfinite(value) or value < 0:
            raise MalformedEvent(f"{name} is {value}, not a number from 0 up")
        return float(value)

    def whole(self, name: str, *, signed: bool = False) -> int | None:
        value = self._found.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or (value < 0 and not signed):
            raise MalformedEvent(f"{name} is {_kind(value)}, not a whole number")
        return value

    def flag(self, name: str) -> bool:
        value = self._found.get(name, False)
        if not isinstance(value, bool):
            raise MalformedEvent(f"{name} is {_kind(value)}, not true or false")
        return value

    def items(self, name: str) -> list[Any]:
        value = self._found.get(name, [])
        if not isinstance(value, list):
            raise MalformedEvent(f"{name} is {_kind(value)}, not a list")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._found.get(name, {})
        if not isinstance(value, dict):
            raise MalformedEvent(f"{name} is {_kind(value)}, not an object")
        return value


def _kind(value: object) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def _ready(fields: _Fields, identity: str | None) -> Ready:
    protocol = fields.whole("protocol")
    if protocol is None:
        raise MalformedEvent("protocol is missing")
    return Ready(id=identity, protocol=protocol, name=fields.text("name"))


def _loaded(fields: _Fields, identity: str | None) -> Loaded:
    return Loaded(
        id=identity,
        load_s=fields.number("load_s", 0.0),
        memory_bytes=fields.whole("memory_bytes"),
        device=fields.optional_text("device"),
    )


def _progress(fields: _Fields, identity: str | None) -> Progress:
    fraction = fields.number("fraction")
    if fraction > 1:
        raise MalformedEvent(f"fraction is {fraction}, more than 1")
    return Progress(
        id=identity,
        fraction=fraction,
        message=fields.optional_text("message") or "",
        step=fields.whole("step"),
        steps=fields.whole("steps"),
    )


def _log_line(fields: _Fields, identity: str | None) -> LogLine:
    return LogLine(id=identity, level=fields.optional_text("level") or "info", message=fields.text("message"))


def _finished(fields: _Fields, identity: str | None) -> Finished:
    outputs = []
    for item in fields.items("outputs"):
        if not isinstance(item, dict):
            raise MalformedEvent("an output is not an object")
        told = _Fields(item)
        outputs.append(
            ToldOutput(name=told.text("name"), path=told.text("path"), content_type=told.text("content_type"))
        )
    notes = fields.items("notes")
    if not all(isinstance(note, str) for note in notes):
        raise MalformedEvent("a note is not a text")
    return Finished(
        id=identity,
        outputs=tuple(outputs),
        seconds=fields.number("seconds", 0.0),
        peak_memory_bytes=fields.whole("peak_memory_bytes"),
        seed=fields.whole("seed", signed=True),
        notes=tuple(note[:LONGEST_TEXT] for note in notes[:_MAX_NOTES]),
        facts=fields.mapping("facts"),
    )


def _failed(fields: _Fields, identity: str | None) -> Failed:
    return Failed(
        id=identity,
        code=fields.text("code"),
        message=fields.optional_text("message") or "",
        hint=fields.optional_text("hint"),
        retryable=fields.flag("retryable"),
        needed_bytes=fields.whole("needed_bytes"),
        free_bytes=fields.whole("free_bytes"),
    )


def _health(fields: _Fields, identity: str | None) -> Health:
    return Health(
        id=identity,
        state=fields.text("state"),
        rss_bytes=fields.whole("rss_bytes") or 0,
        memory_bytes=fields.whole("memory_bytes"),
        runs=fields.whole("runs") or 0,
        loaded=fields.flag("loaded"),
    )


def _canceled(_fields: _Fields, identity: str | None) -> Canceled:
    return Canceled(id=identity)


def _acknowledged(fields: _Fields, identity: str | None) -> Acknowledged:
    return Acknowledged(id=identity, what=fields.text("event"))


_READERS: Mapping[str, Callable[[_Fields, str | None], Event]] = {
    "ready": _ready,
    "loaded": _loaded,
    "progress": _progress,
    "log": _log_line,
    "done": _finished,
    "failed": _failed,
    "canceled": _canceled,
    "health": _health,
    "unloaded": _acknowledged,
    "freed": _acknowledged,
}
