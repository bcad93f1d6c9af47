"""Reads an uploaded model in a process of its own, so that no file can take its reader's worker down.

`python -m pipeline3d.geometry.import_child FILE RESULT LIMITS` reads FILE and writes RESULT: a line of JSON,
then the model as a GLB of ours. Memory, processor time, the size of files and core dumps are limited by the
kernel before anything is read, and the parent ends the child when its time is over. The child shares no
state, environment or open file with its parent, and a child that dies is `UnusableInput`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline3d.errors import BrokenModelOutput, TransientFailure, UnusableInput
from pipeline3d.geometry.glb import decode_model
from pipeline3d.geometry.gltf_container import pack
from pipeline3d.geometry.gltf_writing import build
from pipeline3d.geometry.import_limits import LIMITS, MIB, ImportLimits
from pipeline3d.geometry.importing import Imported, read_file
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.refusals import HINTS, refused

SECONDS = 120.0
MEMORY_BYTES = 4096 * MIB
"""Address space, of which a reader touches a part: libraries map a gigabyte and more."""
RESULT_BYTES = 4096 * MIB
OPEN_FILES = 64
WORDS_OF_LAST = 300
OUT_OF_MEMORY, HOST_FAILED = 77, 78
"""Exit codes: the memory it asked for was refused; its files could not be read or written."""
PR_SET_PDEATHSIG = 1
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG")
"""What a Python may need to start; nothing else of our environment is a reader's business."""


def import_in_child(
    path: Path,
    *,
    seconds: float = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
    limits: ImportLimits = LIMITS,
) -> Model:
    """`import_file` in a child. Further errors: `model_crashed_reader` and `model_too_slow`."""
    return read_in_child(path, seconds=seconds, memory_bytes=memory_bytes, limits=limits).model


def read_in_child(
    path: Path,
    *,
    seconds: float = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
    limits: ImportLimits = LIMITS,
) -> Imported:
    """`read_file` in a child, within `seconds` of wall time and `memory_bytes` of address space."""
    path.stat()  # a file that is not there is the caller's mistake, not the sender's
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        result = Path(folder) / "result"
        given = {"memory_bytes": memory_bytes, "seconds": seconds, "parent": os.getpid()}
        order = json.dumps(given | {"limits": asdict(limits)})
        command = [sys.executable, "-P", "-m", __name__, str(path.resolve()), str(result), order]
        status, last_words = _run(command, seconds, folder)
        if status is None or status == -signal.SIGXCPU:
            raise refused("model_too_slow", f"reading it takes more than {seconds:g} seconds")
        if status == OUT_OF_MEMORY:
            raise refused(
                "model_too_large", f"reading it takes more than {memory_bytes // MIB:,} MiB of memory"
            )
        if status == HOST_FAILED:
            raise TransientFailure(
                "The model could not be read here: files could not be read or written.",
                code="import_failed_here",
                hint="Look whether the disk for temporary files is full.",
                details={"last_words": last_words},
            )
        if status != 0 or not result.is_file():
            error = refused("model_crashed_reader", f"its reader ended with {_name_of(status)}")
            error.details["last_words"] = last_words[-WORDS_OF_LAST:]
            raise error
        return _read_result(result)


def _run(command: list[str], seconds: float, folder: str) -> tuple[int | None, str]:
    """The child's exit code, None where it took too long, and the end of what it said."""
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TMPDIR": folder, "HOME": folder}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(said := tempfile.TemporaryFile(dir=folder)),
        env=environment,
        cwd=folder,
        start_new_session=True,
    ) as child:
        try:
            status: int | None = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    with said:
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - WORDS_OF_LAST))
        return status, said.read().decode("utf-8", "replace")


def _read_result(path: Path) -> Imported:
    with path.open("rb") as file:  # a model may be a gigabyte: no second copy of it
        line, content = file.readline(), file.read()
    try:
        answer = json.loads(line)
        if "refused" in answer:
            raise _as_error(answer["refused"])
        return Imported(
            model=decode_model(content), format=answer["format"], notes=tuple(map(str, answer["notes"]))
        )
    except (ValueError, KeyError, TypeError, BrokenModelOutput) as error:
        raise refused("model_crashed_reader", "its reader gave no whole answer") from error


def _as_error(told: dict[str, Any]) -> UnusableInput:
    code = told["code"] if told["code"] in HINTS else "broken_model_file"
    return UnusableInput(str(told["message"]), code=code, hint=HINTS[code])


def _name_of(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit code {status}"


def main(path: Path, result: Path, order: dict[str, Any]) -> int:
    """The child: limit ourselves, read, write the answer."""
    end_with_parent(int(order["parent"]))
    limit_ourselves(memory_bytes=int(order["memory_bytes"]), seconds=float(order["seconds"]))
    try:
        answer, content = _answer(path, ImportLimits(**order["limits"]))
        with result.open("wb") as file:
            file.write(json.dumps(answer).encode() + b"\n")
            file.write(content)
    except MemoryError:
        return OUT_OF_MEMORY
    except OSError as error:
        print(error, file=sys.stderr)
        return HOST_FAILED
    return 0


def _answer(path: Path, limits: ImportLimits) -> tuple[dict[str, Any], bytes]:
    """What the parent is told, and the model as a GLB with all that it has."""
    try:
        imported = read_file(path, limits=limits)
    except UnusableInput as error:
        return {"refused": {"code": error.code, "message": error.message}}, b""
    document, builder = build(imported.model, name="model", extras=None, embed=True, keep_uvs=True)
    return {"format": imported.format, "notes": list(imported.notes)}, pack(document, builder.chunks)


def limit_ourselves(*, memory_bytes: int, seconds: float) -> None:
    """Kernel limits for this process: none can be raised again, and its children inherit them."""
    import resource

    processor_s = int(seconds) + 1
    wanted = {
        resource.RLIMIT_AS: (memory_bytes, memory_bytes),
        # At the soft limit comes a signal that says why, at the hard one the end.
        resource.RLIMIT_CPU: (processor_s, processor_s + 1),
        resource.RLIMIT_FSIZE: (RESULT_BYTES, RESULT_BYTES),
        resource.RLIMIT_NOFILE: (OPEN_FILES, OPEN_FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, values in wanted.items():
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            values = (min(values[0], hard), min(values[1], hard))
        resource.setrlimit(kind, values)


def end_with_parent(parent: int) -> None:
    """A parent that is killed leaves no reader behind (where the kernel is Linux)."""
    import ctypes

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])))
