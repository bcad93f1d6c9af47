"""The words of the wrapper protocol: requests, results, failures, and lines on a pipe.

Version 1: one JSON object a line, UTF-8, at most 1 MiB a line; README.md beside this file has it in full.
Standard library only and Python 3.8, because a model's own environment runs it. Knows no model.
"""

from __future__ import annotations

import json
import math
import os
import threading
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Callable

PROTOCOL = 1
MAX_LINE_BYTES = 1 << 20
MAX_TEXT_CHARS = 8000
"""A message or note is cut here: the whole story is on stderr, which the caller keeps."""
MAX_SEED = 2**32 - 1

EXIT_DONE, EXIT_CANCELED, EXIT_WRAPPER_FAULT = 0, 6, 70
EXIT_CODES = {
    "invalid_request": 2,
    "prompt_rejected": 2,
    "model_missing": 3,
    "weights_missing": 3,
    "weights_invalid": 3,
    "licence_not_accepted": 3,
    "out_of_memory": 4,
    "empty_output": 5,
    "broken_output": 5,
    "script_failed": 5,
    "gpu_lost": 7,
    "script_hung": 8,
    "timeout": 8,
    "wrapper_fault": EXIT_WRAPPER_FAULT,
}
"""What the process ends with after a failure of this code; 0 is done or shut down, 6 is canceled."""
RETRYABLE = frozenset({"out_of_memory", "gpu_lost", "script_hung"})
"""Failures that another attempt, perhaps elsewhere, may not meet again."""


class Failure(Exception):
    """A run or load that failed, in the protocol's terms; `code` is a key of EXIT_CODES."""

    def __init__(
        self,
        code: str,
        message: str,
        hint: str | None = None,
        *,
        retryable: bool | None = None,
        needed_bytes: int | None = None,
        free_bytes: int | None = None,
    ) -> None:
        super().__init__(message)
        if code not in EXIT_CODES:
            raise ValueError(f"{code!r} is not a failure code of the protocol")
        self.code, self.message, self.hint = code, message, hint
        self.retryable = code in RETRYABLE if retryable is None else retryable
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        return EXIT_CODES[self.code]

    def event(self, id: str | None) -> dict[str, Any]:
        """The `failed` event."""
        return {
            "event": "failed",
            "id": id,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "needed_bytes": self.needed_bytes,
            "free_bytes": self.free_bytes,
        }


class Canceled(Exception):
    """The run stopped because it was asked to."""


@dataclass(frozen=True)
class Request:
    """One piece of work. Paths are absolute; `images` exist and `output_dir` is a directory."""

    id: str
    output_dir: str
    task: str = "generate"
    images: tuple[str, ...] = ()
    resume_dir: str | None = None
    prompt: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class Output:
    """One file that a run made, inside the request's output directory."""

    name: str
    path: str
    content_type: str = "model/gltf-binary"

    def wire(self) -> dict[str, str]:
        """As the `done` event has it."""
        return {"name": self.name, "path": self.path, "content_type": self.content_type}


@dataclass(frozen=True)
class Result:
    """What a run made; `peak_memory_bytes` is the device's, or None where it was not measured."""

    outputs: tuple[Output, ...]
    seed: int | None = None
    peak_memory_bytes: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def _wrong(message: str) -> Failure:
    return Failure("invalid_request", message)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def parse_object(text: bytes) -> dict[str, Any]:
    """One JSON object. Raises Failure(invalid_request) for anything else, NaN and Infinity included."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"A line is not JSON in UTF-8: {str(error)[:200]}.") from error
    if not isinstance(value, dict):
        raise _wrong(f"A line must be a JSON object, it is {type(value).__name__}.")
    return value


def parse_request(value: Any) -> Request:
    """The request of a wire object; everything is checked. Raises Failure(invalid_request)."""
    if not isinstance(value, dict):
        raise _wrong("The request must be a JSON object.")
    id, task = value.get("id"), value.get("task", "generate")
    if not isinstance(id, str) or not 0 < len(id) <= 200:
        raise _wrong("id must be a text of 1 to 200 characters.")
    if task not in ("generate", "export"):
        raise _wrong(f"task is {task!r}; it must be 'generate' or 'export'.")
    inputs, limits = _object(value, "inputs"), _object(value, "limits")
    prompt, seed = value.get("prompt"), value.get("seed")
    if prompt is not None and not isinstance(prompt, str):
        raise _wrong("prompt must be a text or null.")
    if seed is not None and (not _is_integer(seed) or not 0 <= seed <= MAX_SEED):
        raise _wrong(f"seed must be null or a whole number from 0 to {MAX_SEED}.")
    return Request(
        id=id,
        task=task,
        output_dir=_directory(value.get("output_dir"), "output_dir"),
        images=_images(inputs.get("images")),
        resume_dir=_optional_directory(inputs.get("resume_dir")),
        prompt=prompt,
        params=_object(value, "params"),
        seed=seed,
        timeout_s=_timeout(limits.get("timeout_s")),
    )


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong(f"{name} must be a JSON object.")
    return found


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value and os.path.isabs(value)


def _directory(value: Any, name: str) -> str:
    if not _is_path(value) or not os.path.isdir(value):
        raise _wrong(f"{name} must be the absolute path of a directory that exists, it is {value!r}.")
    return os.path.realpath(value)


def _optional_directory(value: Any) -> str | None:
    return None if value is None else _directory(value, "inputs.resume_dir")


def _images(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong("inputs.images must be a list.")
    for path in value:
        if not _is_path(path) or not os.path.isfile(path):
            raise _wrong(f"inputs.images must name files by absolute path; {path!r} is none.")
    return tuple(value)


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise _wrong("limits.timeout_s must be null or a number of seconds above 0.")
    return float(value)


class Parameters:
    """The request's params, read one by one with their limits; what nobody read is told at the end."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._read: set[str] = set()

    def _take(self, name: str, default: Any) -> Any:
        self._read.add(name)
        value = self._values.get(name)
        return default if value is None else value

    def integer(self, name: str, default: Any, low: int, high: int) -> Any:
        """A whole number from low to high, or the default."""
        value = self._take(name, default)
        if value is not default and (not _is_integer(value) or not low <= value <= high):
            raise _wrong(f"{name} is {value!r}; it must be a whole number from {low} to {high}.")
        return value

    def number(self, name: str, default: Any, low: float, high: float) -> Any:
        """A finite number from low to high as float, or the default."""
        value = self._take(name, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise _wrong(f"{name} is {value!r}; it must be a number from {low} to {high}.")
        return float(value)

    def choice(self, name: str, default: Any, allowed: tuple[str, ...]) -> Any:
        """One of the allowed texts, or the default."""
        value = self._take(name, default)
        if value is not default and value not in allowed:
            raise _wrong(f"{name} is {value!r}; it must be one of {', '.join(allowed)}.")
        return value

    def boolean(self, name: str, default: bool) -> bool:
        """True or false, nothing that merely looks like it."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            raise _wrong(f"{name} is {value!r}; it must be true or false.")
        return value

    def text(self, name: str, default: Any, longest: int) -> Any:
        """A text of at most so many characters, or the default."""
        value = self._take(name, default)
        if value is not default and (not isinstance(value, str) or len(value) > longest):
            raise _wrong(f"{name} must be a text of at most {longest} characters.")
        return value

    def unread(self) -> list[str]:
        """Names that were sent and mean nothing to this model."""
        return sorted(str(name)[:80] for name in self._values if name not in self._read)


class EventWriter:
    """Writes events to the caller, one whole line at a time, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self._lock = threading.Lock()
        self.broken = False
        self.on_broken: Callable[[], None] = lambda: None
        """Called once, when the caller no longer reads."""

    def write(self, event: dict[str, Any]) -> None:
        """Send one event. A caller that went away is no error here; `on_broken` hears of it."""
        with self._lock:
            if self.broken:
                return
            try:
                self.stream.write(encode_event(event))
                self.stream.flush()
                return
            except (OSError, ValueError):
                self.broken = True
        self.on_broken()


def encode_event(event: dict[str, Any]) -> bytes:
    """One line. Long texts are cut, and an event that is too long even so loses its facts."""
    event = {name: _shorten(value) for name, value in event.items()}
    line = _encode(event)
    if len(line) > MAX_LINE_BYTES:
        line = _encode(dict(event, facts={"cut": True}, notes=["The facts and notes were too long to send."]))
    return line


def _encode(event: dict[str, Any]) -> bytes:
    # ASCII only: lone surrogates of damaged file names stay transportable.
    return json.dumps(event, allow_nan=False, default=str).encode("ascii") + b"\n"


def _shorten(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
        return value[: MAX_TEXT_CHARS - 1] + "…"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_shorten(entry) for entry in value]
    if isinstance(value, dict):
        return {str(name): _shorten(entry) for name, entry in value.items()}
    return value


def read_line(stream: BinaryIO) -> bytes | None:
    """The next line without its end, None at the end of the stream.

    Raises Failure(invalid_request) for a line over the limit, having skipped the whole of it.
    """
    line = stream.readline(MAX_LINE_BYTES + 1)
    if not line:
        return None
    if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
        raise _wrong(f"A line is longer than {MAX_LINE_BYTES} bytes.")
    return line.rstrip(b"\r\n")
