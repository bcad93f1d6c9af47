"""A stand-in for a model: it makes a coloured sphere, and misbehaves or dies when it is told to.

For the tests of whatever drives wrappers and for the `warm` benchmark; it generates nothing from anything and
says so. Every parameter of a run is a fault to play; without any it behaves. The colour follows the seed.
"""

from __future__ import annotations

import colorsys
import math
import os
import random
import signal
import subprocess
import sys
import time
from array import array
from typing import Any, BinaryIO, Callable

_WRAPPERS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _WRAPPERS)
import glb  # noqa: E402
import protocol  # noqa: E402
from contract import Model, Report  # noqa: E402
from harness import main  # noqa: E402
from protocol import Canceled, Failure, Output, Parameters, Request, Result  # noqa: E402

sys.path.remove(_WRAPPERS)

EMPTY_GLB = glb.pack({"asset": {"version": "2.0"}, "scene": 0, "scenes": [{}]}, b"")
"""No mesh at all, as the upstream SF3D script leaves behind for an empty surface."""
LOAD_PARAMETERS = ("load_s", "load_memory_bytes", "crash_in_load", "weights_missing")
CRASHES = ("segfault", "exit", "kill")
HANGS = ("ignore", "stopped")
CHILDREN = ("group", "detached")
CHILD = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)"
MAX_BYTES = 1 << 40
PAGE = 4096
LATITUDES, LONGITUDES = 16, 24


class FakeModel(Model):
    """Behaves unless the request's params say otherwise; README.md lists them."""

    name = "fake"
    kind = "image_to_3d"
    description = (
        "A stand-in for tests and benchmarks: a sphere in a colour that follows the seed, from nothing."
    )

    def __init__(self, resident: bool) -> None:
        super().__init__(resident)
        self._weights, self._cache = bytearray(), bytearray()
        self._loads = self._runs = self._starved = 0

    def load(self, params: dict[str, Any], report: Report) -> str:
        """Takes `load_s` and holds `load_memory_bytes`, or fails, or ends the process."""
        wanted = Parameters(params)
        crash = wanted.choice("crash_in_load", None, CRASHES)
        load_s = wanted.number("load_s", 0.0, 0, 3600)
        size = wanted.integer("load_memory_bytes", 0, 0, MAX_BYTES)
        if wanted.boolean("weights_missing", False):
            raise Failure(
                "weights_missing", "The stand-in was told that it has no weights.", "Tell it otherwise."
            )
        time.sleep(load_s)
        if crash:
            _crash(crash, 1)
        self._weights = _touched(size)
        self._loads += 1
        return "cpu"

    def unload(self) -> None:
        """Lets go of everything."""
        self._weights, self._cache = bytearray(), bytearray()

    def free(self) -> None:
        """Lets go of what the last run left."""
        self._cache = bytearray()

    def memory_bytes(self) -> int:
        """What it holds on purpose; it has no device."""
        return len(self._weights) + len(self._cache)

    def run(self, request: Request, report: Report, is_canceled: Callable[[], bool]) -> Result:
        """Work in steps, then write the sphere; each parameter adds one fault."""
        self._runs += 1
        wanted = Parameters({k: v for k, v in request.params.items() if k not in LOAD_PARAMETERS})
        facts: dict[str, Any] = {"loads": self._loads, "runs": self._runs}
        child = wanted.choice("spawn_child", None, CHILDREN)
        if child:
            facts["child_pid"] = _spawn(detached=child == "detached")
            report.log("info", f"child {facts['child_pid']}")
        facts["steps"] = self._work(wanted, report, is_canceled)
        path = os.path.join(request.output_dir, "mesh.glb")
        with open(path, "wb") as file:
            file.write(_content(wanted, request.seed or 0))
            _fill(file, wanted.integer("huge_output_bytes", 0, 0, MAX_BYTES), is_canceled)
        for _ in range(wanted.integer("malformed_lines", 0, 0, 1000)):
            os.write(_stdout, b'{"event": "done", \xff\xfe not JSON\n')
        note = wanted.text("note", None, 1000)
        if note:
            report.note(note)
        if wanted.unread():
            report.note(f"Parameters that mean nothing here: {', '.join(wanted.unread())}.")
        output = Output("mesh.glb", path)
        return Result((output,), request.seed or 0, peak_memory_bytes=self.memory_bytes(), facts=facts)

    def _work(self, wanted: Parameters, report: Report, is_canceled: Callable[[], bool]) -> int:
        steps, work_s = wanted.integer("steps", 4, 1, 100_000), wanted.number("work_s", 0.0, 0, 3600)
        crash, crash_step = wanted.choice("crash", None, CRASHES), wanted.integer("crash_step", 1, 1, steps)
        exit_code = wanted.integer("exit_code", 1, 0, 255)
        hang = wanted.choice("hang", None, HANGS)
        self._cache = _touched(wanted.integer("memory_bytes", 0, 0, MAX_BYTES))
        self._fail(wanted)
        _flood_stderr(wanted.integer("stderr_bytes", 0, 0, MAX_BYTES), lambda: False)
        if wanted.boolean("endless_stderr", False):
            _flood_stderr(MAX_BYTES, is_canceled)
        for step in range(1, steps + 1):
            _wait(work_s / steps, is_canceled)
            report.progress(step / steps, "working", step, steps)
            if hang:
                _hang(hang)
            if crash and step == crash_step:
                _crash(crash, exit_code)
        return steps

    def _fail(self, wanted: Parameters) -> None:
        times = wanted.integer("out_of_memory", 0, 0, 1000)
        needed = wanted.integer("needed_bytes", 2 << 30, 0, MAX_BYTES)
        if self._starved < times:
            self._starved += 1
            told = "The stand-in was told to want more memory."
            raise Failure("out_of_memory", told, needed_bytes=needed, free_bytes=needed // 2)
        self._starved = 0
        if wanted.boolean("gpu_lost", False):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if wanted.boolean("raises", False):
            raise ValueError("the stand-in was told to raise")
        code = wanted.choice("fails", None, tuple(protocol.EXIT_CODES))
        if code:
            raise Failure(code, f"The stand-in was told to fail with {code}.", "Do not tell it to.")


def _touched(size: int) -> bytearray:
    """So many bytes that are really in memory: a page that was never written to is not."""
    block = bytearray(size)
    for at in range(0, size, PAGE):
        block[at] = 1
    return block


def _wait(seconds: float, is_canceled: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while True:
        if is_canceled():
            raise Canceled
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.01))


def _hang(how: str) -> None:
    """Listen to nothing: 'ignore' cancel and SIGTERM, or stand still as a stuck driver call does."""
    if how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        time.sleep(60)


def _crash(how: str, exit_code: int) -> None:
    if how == "exit":
        os._exit(exit_code)
    os.kill(os.getpid(), signal.SIGSEGV if how == "segfault" else signal.SIGKILL)


def _spawn(*, detached: bool) -> int:
    """A child that outlives this process and ignores SIGTERM; detached, it leaves the process group too."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    return subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=detached, **streams).pid


def _flood_stderr(size: int, is_canceled: Callable[[], bool]) -> None:
    line = b"x" * 119 + b"\n"
    for _ in range(-(-size // len(line))):
        if is_canceled():
            raise Canceled
        os.write(2, line)


def _fill(file: BinaryIO, size: int, is_canceled: Callable[[], bool]) -> None:
    block = b"\0" * (1 << 20)
    while size > 0:
        if is_canceled():
            raise Canceled
        size -= file.write(block[:size])


def _content(wanted: Parameters, seed: int) -> bytes:
    """The bytes of the mesh file: a sphere, or what the params want instead."""
    if wanted.boolean("empty_glb", False):
        return EMPTY_GLB
    mesh = _sphere(seed)
    if wanted.boolean("nan_mesh", False):
        whole = glb.encode(mesh, "fake")
        # In the bytes, since no JSON may hold the bounds of such a mesh.
        first = mesh.positions[:3].tobytes()
        return whole.replace(first, array("f", [math.nan] * 3).tobytes(), 1)
    content = glb.encode(mesh, "fake", {"made_by": "fake_model", "seed": seed})
    return content[: len(content) // 2] if wanted.boolean("truncated_glb", False) else content


def _sphere(seed: int) -> glb.Mesh:
    """A closed unit sphere about the origin; its hue is drawn by the seed."""
    red, green, blue = colorsys.hsv_to_rgb(random.Random(seed).random(), 0.7, 0.9)
    positions = array("f", [0.0, 1.0, 0.0])
    for row in range(1, LATITUDES):
        polar = math.pi * row / LATITUDES
        for column in range(LONGITUDES):
            angle = 2 * math.pi * column / LONGITUDES
            x, z = math.sin(polar) * math.sin(angle), math.sin(polar) * math.cos(angle)
            positions.extend((x, math.cos(polar), z))
    positions.extend((0.0, -1.0, 0.0))
    last = len(positions) // 3 - 1
    indices = array("I")
    for column in range(LONGITUDES):
        beside = (column + 1) % LONGITUDES
        indices.extend((0, 1 + column, 1 + beside))
        for row in range(LATITUDES - 2):
            upper, lower = 1 + row * LONGITUDES, 1 + (row + 1) * LONGITUDES
            indices.extend((upper + column, lower + column, lower + beside))
            indices.extend((upper + column, lower + beside, upper + beside))
        bottom = last - LONGITUDES
        indices.extend((last, bottom + beside, bottom + column))
    colour = [glb.LINEAR_BYTES[round(channel * 255)] for channel in (red, green, blue)]
    colours = array("B", [*colour, 255] * (last + 1))
    return glb.Mesh(positions, indices, normals=array("f", positions), colours=colours)


if __name__ == "__main__":
    _stdout = os.dup(1)  # past the event writer: what a broken wrapper would send
    sys.exit(main(FakeModel, sys.argv[1:]))
