"""The child process that OpenUSD runs in: one request on stdin, one answer on stdout.

`python -m pipeline3d.geometry.formats.usd_child SECONDS BYTES`. Standard library and pxr only.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline3d.geometry.formats.usd_messages import pack_message, unpack_message
from pipeline3d.geometry.formats.usdz_package import write_package


def perform_steps(request: dict[str, Any], blobs: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """`write` a package, `check` it, `read` it back; each step looks at the file afresh."""
    from pipeline3d.geometry.formats.usd_authoring import author_layer
    from pipeline3d.geometry.formats.usd_reading import read_stage
    from pipeline3d.geometry.usd_checks import stage_problems

    answer: dict[str, Any] = {}
    found: list[bytes] = []
    if "write" in request["steps"]:
        layer = Path(request["layer"])
        author_layer(request["scene"], blobs, str(layer))
        pictures = [(picture["path"], blobs[picture["blob"]]) for picture in request["scene"]["pictures"]]
        write_package(Path(request["package"]), [(layer.name, layer.read_bytes()), *pictures])
    if "check" in request["steps"]:
        answer["problems"] = stage_problems(request["package"])
    if "read" in request["steps"]:
        answer["stage"], found = read_stage(request["package"])
    return answer, found


def main() -> None:
    """Limit this process, load OpenUSD while the request is still being made, answer it."""
    seconds, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from pxr import Sdf, Usd, UsdGeom, UsdShade, UsdValidation, Vt  # noqa: F401

    answer_to = sys.stdout.buffer
    try:
        answer, blobs = perform_steps(*unpack_message(sys.stdin.buffer.read()))
    except OSError as error:
        answer, blobs = {"os_error": [error.errno, error.strerror or str(error)]}, []
    except Exception as error:  # whatever OpenUSD raises of a damaged file becomes an answer
        answer, blobs = {"error": f"{type(error).__name__}: {str(error).strip()[:2000]}"}, []
    answer_to.write(pack_message(answer, blobs))
    answer_to.flush()


if __name__ == "__main__":
    main()
