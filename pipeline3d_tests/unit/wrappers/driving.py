"""Starts wrappers as the processes that they are, and speaks the protocol with them."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

WRAPPERS = Path(__file__).parents[3] / "wrappers"
STAND_INS = Path(__file__).parents[2] / "wrapper_scripts"
WAIT_S = 60.0
LAST = ("done", "failed", "canceled")


def environment(**more: str) -> dict[str, str]:
    """A small environment, as the caller of a wrapper makes it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"LANG": "C"} | more


def request(output_dir: Path, *, id: str = "job:1", seed: int | None = None, **fields) -> dict:
    """A request object; `images`, `resume_dir`, `timeout_s` find their places."""
    inputs = {"images": [str(path) for path in fields.pop("images", ())]}
    if "resume_dir" in fields:
        inputs["resume_dir"] = str(fields.pop("resume_dir"))
    limits = {"timeout_s": fields.pop("timeout_s", None)}
    output_dir.mkdir(parents=True, exist_ok=True)
    base = {"id": id, "task": "generate", "inputs": inputs, "prompt": None, "params": {}, "seed": seed}
    return base | {"output_dir": str(output_dir), "limits": limits} | fields


@dataclass(frozen=True)
class Finished:
    """A process that ended: exit code, its events, its stderr."""

    code: int
    events: list[dict]
    stderr: str

    @property
    def last(self) -> dict:
        """The event that ended the run."""
        found = [event for event in self.events if event["event"] in LAST]
        assert len(found) == 1, self.events
        return found[0]


def run_once(
    name: str, wanted: dict, where: Path, *, python: str = sys.executable, **variables: str
) -> Finished:
    """One-shot."""
    where.mkdir(parents=True, exist_ok=True)
    file = where / "request.json"
    file.write_text(json.dumps(wanted))
    return command(name, ["--request", str(file)], python=python, **variables)


def command(name: str, arguments: list[str], *, python: str = sys.executable, **variables: str) -> Finished:
    """Any command line of a wrapper."""
    program = [python, str(WRAPPERS / name / "run.py"), *arguments]
    ended = subprocess.run(
        program, env=environment(**variables), stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S
    )
    lines = [line for line in ended.stdout.decode().splitlines() if line.startswith("{")]
    return Finished(
        ended.returncode, [json.loads(line) for line in lines], ended.stderr.decode(errors="replace")
    )


class Resident:
    """A wrapper that serves; use it in a `with`, which leaves nothing behind."""

    def __init__(self, name: str, *, python: str = sys.executable, arguments=("--serve",), **variables: str):
        program = [python, str(WRAPPERS / name / "run.py"), *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            program, env=environment(**variables), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def __enter__(self) -> Resident:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def send(self, **command) -> None:
        """One command."""
        self.send_raw(json.dumps(command).encode() + b"\n")

    def send_raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def line(self) -> bytes | None:
        """The next line, None at the end."""
        return self._lines.get(timeout=WAIT_S)

    def wait_for(self, *kinds: str, id: str | None = ...) -> dict:
        """The next event of these kinds, and of this id where one is given; others are passed over."""
        while True:
            line = self.line()
            assert line is not None, f"the wrapper ended before {kinds}"
            event = json.loads(line)
            if event["event"] in kinds and id in (..., event.get("id")):
                return event

    def run(self, wanted: dict) -> dict:
        """Send a request and wait for its end."""
        self.send(op="run", id=wanted["id"], request=wanted)
        return self.wait_for(*LAST, id=wanted["id"])

    def exit_code(self) -> int:
        """Wait for the end of the process."""
        return self.process.wait(WAIT_S)


def wait_until(holds, what: str) -> None:
    """Ask again until it holds; fails after a minute."""
    until = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until, f"not within {WAIT_S:g} s: {what}"
        threading.Event().wait(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process still does anything; one that nobody collected yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read_record(path: Path) -> dict:
    """What a stand-in told of its start, as soon as it has."""
    wait_until(path.exists, f"{path} is written")
    return json.loads(path.read_text())
