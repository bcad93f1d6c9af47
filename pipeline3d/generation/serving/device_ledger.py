"""Who works on which device of this host: a GPU is one run's at a time, the RAM is shared up to a budget.

A small file for each device, written under a lock. Each entry names its process by pid and start, so what a
process had is free the moment it is dead, however it died. Whoever came first is served first.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from pipeline3d.generation.serving.failures import make_error
from pipeline3d.generation.serving.memory import CPU
from pipeline3d.generation.serving.watching import IsCanceled
from pipeline3d.generation.serving.wrapper import never

LOOK_S = 0.1

logger = logging.getLogger("pipeline3d.models")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceHold:
    """One run's hold on a device, or its wait for one (`waits`). `since` in seconds since 1970.

    `process` tells the process from another one that has its pid later.
    """

    token: str
    pid: int
    process: str
    model: str
    run_id: str | None = None
    reserved_bytes: int = 0
    since: float = 0.0
    waits: bool = True


class DeviceLedger:
    """The devices of this host, for all processes that use the same folder."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now

    @contextmanager
    def hold(
        self,
        device: str,
        *,
        model: str,
        run_id: str | None = None,
        reserved_bytes: int = 0,
        budget_bytes: int | None = None,
        is_canceled: IsCanceled = never,
        wait_s: float = 600.0,
    ) -> Iterator[DeviceHold]:
        """Have the device for the block: a GPU alone, the RAM together with others up to the budget.

        Raises TransientFailure `device_busy` after `wait_s`, LeaseLost `canceled`.
        """
        own = DeviceHold(
            token=uuid.uuid4().hex,
            pid=os.getpid(),
            process=identify_process(os.getpid()),
            model=model,
            run_id=run_id,
            reserved_bytes=reserved_bytes,
            since=self._now(),
        )
        try:
            yield self._wait_for(device, own, budget_bytes, is_canceled, wait_s)
        finally:
            with self._opened(device) as holds:
                holds[:] = [hold for hold in holds if hold.token != own.token]

    def holds(self, device: str) -> tuple[DeviceHold, ...]:
        """Who has the device and who waits for it, the first ones first."""
        with self._opened(device) as holds:
            return tuple(holds)

    def _wait_for(
        self,
        device: str,
        own: DeviceHold,
        budget_bytes: int | None,
        is_canceled: IsCanceled,
        wait_s: float,
    ) -> DeviceHold:
        deadline = time.monotonic() + wait_s
        while True:
            with self._opened(device) as holds:
                if all(hold.token != own.token for hold in holds):
                    holds.append(own)
                if may_begin(device, own, holds, budget_bytes):
                    taken = replace(own, waits=False, since=self._now())
                    holds[:] = [taken if hold.token == own.token else hold for hold in holds]
                    return taken
            if is_canceled():
                raise make_error("canceled")
            if time.monotonic() > deadline:
                raise make_error("device_busy", f"{device} was busy for {wait_s:g} s.")
            time.sleep(LOOK_S)

    @contextmanager
    def _opened(self, device: str) -> Iterator[list[DeviceHold]]:
        """What living processes have of a device; what the block changes of the list is written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = device.replace(":", "-").replace("/", "-")
        path = self._folder / f"{name}.json"
        with (self._folder / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stored = _read(path)
            holds = [hold for hold in stored if _lives(hold)]
            before = list(holds)
            yield holds
            if holds != before or len(before) != len(stored):
                _write(path, json.dumps([asdict(hold) for hold in holds]))


def may_begin(device: str, own: DeviceHold, holds: list[DeviceHold], budget_bytes: int | None) -> bool:
    """Whether it is this one's turn and the device has room for it. One alone on a device always has room.

    A run that has the device already has it for a second model too: it would wait for itself.
    """
    at_work = [hold for hold in holds if not hold.waits]
    if own.run_id is not None and any((hold.pid, hold.run_id) == (own.pid, own.run_id) for hold in at_work):
        return True
    waiting = [hold for hold in holds if hold.waits]
    if waiting and waiting[0].token != own.token:
        return False
    if not at_work:
        return True
    if device != CPU:
        return False
    taken = sum(hold.reserved_bytes for hold in at_work)
    return budget_bytes is None or taken + own.reserved_bytes <= budget_bytes


def _lives(hold: DeviceHold) -> bool:
    """Whether the very process that wrote it still runs: its pid may be another's by now."""
    try:
        dead = psutil.Process(hold.pid).status() == psutil.STATUS_ZOMBIE
        return not dead and identify_process(hold.pid) == hold.process
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return False


def identify_process(pid: int) -> str:
    """When it was started, in ticks since this boot: a clock that is set does not change that."""
    if not sys.platform.startswith("linux"):
        return str(round(psutil.Process(pid).create_time()))
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # pid (name, which may hold anything) state parent ... the 22nd field
    started = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    return f"{boot}:{started}"


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError:
        # On a full disk a list can still get shorter in its place, so that a device can be given back.
        with path.open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()


def _read(path: Path) -> list[DeviceHold]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        return [DeviceHold(**item) for item in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, RecursionError) as error:
        logger.warning("%s is damaged and begun anew: %s", path, error)
        with suppress(OSError):
            path.unlink()
        return []
