"""The wrappers' command lines before this protocol: `--output_path P`, then exit 0 and a file there, or 1.

Scripts that people have keep working; what is new is that exit 0 means a file that was checked, and that the
reason of a failure is the last line on stderr.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from typing import Any

from contract import Model, Report
from protocol import EventWriter, Request
from symptoms import failure_of


class _Quiet(EventWriter):
    """Events as lines for people, on stderr."""

    def __init__(self) -> None:
        super().__init__(sys.stderr.buffer)

    def write(self, event: dict[str, Any]) -> None:
        """Print the message; a caller of the old command line reads no JSON."""
        print(event.get("message") or event["event"], file=sys.stderr, flush=True)


def carry_out(
    model: Model,
    output_path: str,
    *,
    params: dict[str, Any],
    images: tuple[str, ...] = (),
    prompt: str | None = None,
    wanted: str = "mesh.glb",
) -> int:
    """Run the model once and put its file `wanted` at `output_path`; returns 0, or 1 for any failure."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    output_path = os.path.abspath(output_path)
    folder = os.path.dirname(output_path)
    try:
        for image in images:
            if not os.path.isfile(image):
                raise FileNotFoundError(f"{image} does not exist")
        os.makedirs(folder, exist_ok=True)
        work = os.path.realpath(tempfile.mkdtemp(prefix=".wrapper-", dir=folder))
    except OSError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    try:
        report = Report(_Quiet(), None)
        request = Request("predecessor", work, images=images, prompt=prompt, params=params)
        model.load(params, report)
        result = model.run(request, report, stopped.is_set)
        made = {output.name: output.path for output in result.outputs}
        os.replace(made[wanted], output_path)
        return 0
    except (Exception, SystemExit) as error:
        failure = failure_of(error)
        hint = f" {failure.hint}" if failure.hint else ""
        print(f"failed: {failure.code}: {failure.message}{hint}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
