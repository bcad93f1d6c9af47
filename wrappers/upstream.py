"""Runs an upstream program (SF3D's run.py, threestudio's launch.py, TripoSR's run.py) for a wrapper.

The program runs under `guardian.py`, so nothing of it outlives the wrapper. Its output goes to the wrapper's
stderr, up to a limit, and its last words are kept to say why it failed. Only named variables reach it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Callable, Iterable

import runs
from protocol import Canceled, Failure
from symptoms import recognise

POLL_S = 0.05
LOOK_S = 0.5
"""So often `on_tick` reads files."""
STALL_S = 1200.0
"""Silent this long, a program is taken to hang: loading three models from a slow disk takes minutes."""
STALL_VARIABLE = "UPSTREAM_STALL_S"
MAX_FORWARDED_BYTES = 8 << 20
TAIL_BYTES = 16 << 10
MAX_LINE_BYTES = 64 << 10
GUARDIAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guardian.py")

ALLOWED_VARIABLES = frozenset(
    (
        *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP", "LD_LIBRARY_PATH"),
        *("CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
        *("PYTORCH_CUDA_ALLOC_CONF", "TORCH_HOME", "TORCH_EXTENSIONS_DIR", "TORCH_CUDA_ARCH_LIST"),
        *("TCNN_CUDA_ARCHITECTURES", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"),
        *("HF_ENDPOINT", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "TRANSFORMERS_OFFLINE"),
        *("U2NET_HOME", "MODEL_CHECKSUM_DISABLED", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
        *("OPENBLAS_NUM_THREADS", "SSL_CERT_FILE", "SF3D_USE_CPU"),
    )
)
"""What an upstream program may see of the environment: places and devices, never a token."""


@dataclass(frozen=True)
class Ended:
    """How a program ended, and its last words."""

    exit_code: int
    tail: str
    peak_rss_bytes: int


def environment(python: str, **more: str) -> dict[str, str]:
    """The variables of an upstream program: named ones only; offline and quiet unless they say otherwise."""
    kept = {k: v for k, v in os.environ.items() if k in ALLOWED_VARIABLES or k.startswith("LC_")}
    kept["PATH"] = os.path.dirname(os.path.abspath(python)) + os.pathsep + kept.get("PATH", os.defpath)
    defaults = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": kept.get("HF_HUB_OFFLINE", "1"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "disabled",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",  # or its last words are lost when it is killed
        "PYTHONUTF8": "1",  # a prompt in any script arrives whole under LANG=C too
    }
    defaults.update(kept)
    defaults.update(more)
    return defaults


def find_program(variable: str, what: str) -> str:
    """The file that a variable names. Raises Failure(model_missing) where there is none."""
    path = os.environ.get(variable, "").strip()
    if not path:
        raise Failure("model_missing", f"{variable} is not set: it names {what}.", "See wrappers/README.md.")
    if not os.path.isfile(path):
        raise Failure(
            "model_missing", f"{variable} is {path}, and there is no such file.", f"It names {what}."
        )
    return os.path.abspath(path)


def find_python(variable: str) -> str:
    """The interpreter that a variable names, or this one. Raises Failure(model_missing)."""
    if not os.environ.get(variable, "").strip():
        return sys.executable
    path = find_program(variable, "the Python of the model's environment")
    if not os.access(path, os.X_OK):
        raise Failure("model_missing", f"{variable} is {path}, which cannot be executed.")
    return path


def stall_limit_s() -> float:
    """Seconds of silence that are taken for a hang."""
    try:
        return max(0.1, float(os.environ.get(STALL_VARIABLE, "") or STALL_S))
    except ValueError:
        return STALL_S


class _Listener:
    """Reads a program's output: forwards a bounded part of it, keeps the end, hands on whole lines."""

    def __init__(self, descriptor: int, on_line: Callable[[str], None]) -> None:
        self._descriptor, self._on_line = descriptor, on_line
        self._forwarded, self._tail, self._line = 0, bytearray(), bytearray()
        self.heard_at = time.monotonic()
        self._thread = threading.Thread(target=self._listen, name="upstream", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                block = os.read(self._descriptor, 65536)
            except OSError:
                return
            if not block:
                return
            self.heard_at = time.monotonic()
            self._forward(block)
            self._tail = (self._tail + block)[-TAIL_BYTES:]
            self._split(block)

    def _forward(self, block: bytes) -> None:
        left = MAX_FORWARDED_BYTES - self._forwarded
        if left <= 0:
            return
        self._forwarded += len(block)
        try:
            os.write(2, block[:left])
            if self._forwarded >= MAX_FORWARDED_BYTES:
                os.write(
                    2, b"\n[the program writes more than is kept; the rest is left out but for its end]\n"
                )
        except OSError:
            self._forwarded = MAX_FORWARDED_BYTES

    def _split(self, block: bytes) -> None:
        # tqdm ends its lines with a carriage return.
        *whole, rest = (bytes(self._line) + block).replace(b"\r", b"\n").split(b"\n")
        self._line = bytearray(rest[-MAX_LINE_BYTES:])
        for line in whole:
            if line.strip():
                self._on_line(line[:MAX_LINE_BYTES].decode("utf-8", "replace"))

    def tail(self) -> str:
        """The last words; call it when the program has ended."""
        self._thread.join(timeout=2)
        if self._forwarded > MAX_FORWARDED_BYTES:
            os.write(2, bytes(self._tail) + b"\n")
        return bytes(self._tail).decode("utf-8", "replace")


def run_script(
    command: Iterable[str],
    *,
    cwd: str,
    variables: dict[str, str],
    is_canceled: Callable[[], bool],
    on_line: Callable[[str], None] = lambda line: None,
    on_tick: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run a program to its end. `on_tick` looks for signs of life elsewhere and says whether there was one.

    Raises Canceled, and Failure(script_hung) after a long silence; both when nothing of the program is left.
    """
    guarded = [sys.executable, "-I", "-S", GUARDIAN, *command]
    limit_s, looked_at = stall_limit_s(), 0.0
    program = subprocess.Popen(
        guarded, cwd=cwd, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    _running.add(program)
    assert program.stdout is not None
    listener = _Listener(program.stdout.fileno(), on_line)
    try:
        while True:
            try:
                program.wait(POLL_S)
                break
            except subprocess.TimeoutExpired:
                pass
            if is_canceled():
                raise Canceled
            if time.monotonic() - looked_at > LOOK_S:
                looked_at = time.monotonic()
                if on_tick():
                    listener.heard_at = looked_at
            if time.monotonic() - listener.heard_at > limit_s:
                raise Failure(
                    "script_hung",
                    f"The program has said nothing for {limit_s:g} s and was ended.",
                    f"A slow disk? {STALL_VARIABLE} allows more silence.",
                )
    finally:
        _end(program)
        tail = listener.tail()
        program.stdout.close()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return Ended(program.returncode, tail, peak)


def require_success(ended: Ended, program: str) -> None:
    """Raises the Failure that a program's exit code and last words stand for."""
    if ended.exit_code == 0:
        return
    last = [line.strip() for line in ended.tail.replace("\r", "\n").split("\n") if line.strip()][-1:]
    told = f" ({last[0][:300]})" if last else ""
    if ended.exit_code == 128 + 9:
        raise Failure(
            "script_failed",
            f"{program} was killed.{told}",
            "The kernel does so when the machine's memory runs out.",
            retryable=True,
        )
    found = recognise(ended.tail)
    if found is not None:
        found.message = f"{found.message}{told}"
        raise found
    raise Failure(
        "script_failed",
        f"{program} ended with exit code {ended.exit_code}.{told}",
        "The log has the whole traceback.",
    )


_running: set[subprocess.Popen[bytes]] = set()


def _end(program: subprocess.Popen[bytes]) -> None:
    """Let the guardian end what is left, and wait for it; afterwards nothing runs."""
    assert program.stdin is not None
    with contextlib.suppress(OSError):
        program.stdin.close()
    try:
        program.wait(10)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
    _running.discard(program)


def _end_all() -> None:
    for program in list(_running):
        _end(program)


runs.at_hard_exit.append(_end_all)
