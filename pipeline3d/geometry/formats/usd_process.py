"""Starts the USD child, hands it a request and takes what comes back, also when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.formats.usd_messages import pack_message, unpack_message

CHILD_SECONDS, CHILD_BYTES = 60, 4 << 30
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
MODULE = "pipeline3d.geometry.formats.usd_child"
MOST_THREADS = 4
LAST_WORDS = 400


class UsdChild:
    """A started child. Start it before the request is ready: it loads OpenUSD in the meantime."""

    def __init__(self, *, seconds: int = CHILD_SECONDS, memory_bytes: int = CHILD_BYTES) -> None:
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, str(seconds), str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                # nothing else: secrets of the worker are no business of a reader of files
                **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                # one thread stack each counts against the memory limit on machines with many cores
                "PXR_WORK_THREAD_LIMIT": str(MOST_THREADS),
            },
        )

    def __enter__(self) -> UsdChild:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def ask(self, request: dict[str, Any], blobs: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """The answer. Raises BrokenModelOutput `usd_failed` or `usd_crashed`, or the child's OSError."""
        try:
            out, errors = self._process.communicate(pack_message(request, blobs), timeout=self._seconds)
        except subprocess.TimeoutExpired as late:
            raise _crashed(f"it was not done after {self._seconds} s") from late
        if self._process.returncode != 0:
            raise _crashed(_explain_end(self._process.returncode, errors))
        try:
            answer, found = unpack_message(out)
        except (ValueError, KeyError, TypeError) as damaged:
            raise _crashed(f"its answer is damaged ({damaged})") from damaged
        return _checked(answer), found


def perform(
    request: dict[str, Any],
    blobs: Sequence[bytes],
    *,
    isolated: bool = True,
    seconds: int = CHILD_SECONDS,
    memory_bytes: int = CHILD_BYTES,
) -> tuple[dict[str, Any], list[bytes]]:
    """The steps of one request, in a child, or in this process where a crash does no harm."""
    if isolated:
        with UsdChild(seconds=seconds, memory_bytes=memory_bytes) as child:
            return child.ask(request, blobs)
    return perform_here(request, blobs)


def perform_here(request: dict[str, Any], blobs: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Without a child; OpenUSD's errors become ours."""
    from pipeline3d.geometry.formats.usd_child import perform_steps

    try:
        return perform_steps(request, blobs)
    except (OSError, BrokenModelOutput):
        raise
    except Exception as error:
        raise _failed(f"{type(error).__name__}: {str(error).strip()[:2000]}") from error


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "os_error" in answer:
        raise OSError(*answer["os_error"])
    if "error" in answer:
        raise _failed(answer["error"])
    return answer


def _explain_end(code: int, errors: bytes) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"it was ended by {name}"
    words = errors.decode("utf-8", "replace").strip()[-LAST_WORDS:]
    return f"it ended with code {code}: {words}"


def _failed(reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"OpenUSD refuses the file: {reason}", code="usd_failed")


def _crashed(reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"The process that OpenUSD ran in gave no answer: {reason}.", code="usd_crashed")
