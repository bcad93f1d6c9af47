"""What a wrapper left in its output folder, looked at while it works and believed only after a check."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline3d.generation.serving.events import Finished, ToldOutput
from pipeline3d.generation.serving.failures import make_error

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_CONTENT_TYPE = re.compile(r"[a-z0-9]+/[A-Za-z0-9.+-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLimits:
    """What a run may write: bytes and files in its output folder, bytes of standard error."""

    total_bytes: int = 2 * 1024**3
    files: int = 10_000
    log_bytes: int = 256 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file that exists, is not empty and lies in the output folder. `size` in bytes."""

    name: str
    path: Path
    content_type: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A run that ended well. `seconds` and `peak_memory_bytes` as the wrapper tells, or as we measured."""

    outputs: tuple[Output, ...]
    seconds: float
    peak_memory_bytes: int | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def check_outputs(finished: Finished, folder: Path, limits: OutputLimits) -> tuple[Output, ...]:
    """The files that a wrapper tells of. Raises BrokenModelOutput, PermanentFailure `output_too_large`."""
    check_folder(folder, limits)
    outputs = tuple(_check_output(told, folder) for told in finished.outputs)
    if not outputs:
        raise make_error("empty_output")
    if len({output.name for output in outputs}) < len(outputs):
        raise make_error("broken_output", "The model's program names two outputs alike.")
    return outputs


def _check_output(told: ToldOutput, folder: Path) -> Output:
    name = told.name[:100]
    if not _NAME.fullmatch(told.name) or not _CONTENT_TYPE.fullmatch(told.content_type):
        raise make_error(
            "broken_output", f"The output {name!r} ({told.content_type[:100]!r}) is not allowed."
        )
    path = Path(told.path)
    try:
        facts = path.lstat()
        inside = path.is_absolute() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise make_error("empty_output", f"The output {name} does not exist.") from error
    if not inside or not stat.S_ISREG(facts.st_mode):
        raise make_error("broken_output", f"The output {name} is not a file in the output folder.")
    if facts.st_size == 0:
        raise make_error("empty_output", f"The output {name} is empty.")
    return Output(name=told.name, path=path, content_type=told.content_type, size=facts.st_size)


def check_folder(folder: Path, limits: OutputLimits) -> None:
    """Raise PermanentFailure `output_too_large` where a run wrote more than it may."""
    size, files = measure_folder(folder, files_at_most=limits.files)
    if size > limits.total_bytes:
        raise make_error(
            "output_too_large",
            f"The model wrote {size:,} bytes; at most {limits.total_bytes:,} are taken.",
            written_bytes=size,
        )
    if files > limits.files:
        raise make_error("output_too_large", f"The model wrote more than {limits.files:,} files.")


def measure_folder(folder: Path, *, files_at_most: int) -> tuple[int, int]:
    """Bytes and entries below a folder, links not followed; stops counting above `files_at_most`."""
    size = files = 0
    waiting = [str(folder)]
    while waiting and files <= files_at_most:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    if files > files_at_most:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += _size_of(entry)
        except OSError:
            continue  # removed while we looked
    return size, files


def _size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def clear_folder(folder: Path) -> None:
    """Empty a folder before the same run is tried once more."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
