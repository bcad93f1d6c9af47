"""The devices of this host as a resource: which one a run takes, and that people see who has it.

Who has a device is decided on the host, by a ledger that a dead process cannot block. Postgres only shows it:
without it, runs go on.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.errors import Pipeline3dError
from pipeline3d.generation.serving.device_ledger import DeviceHold, DeviceLedger
from pipeline3d.generation.serving.failures import make_error
from pipeline3d.generation.serving.memory import CPU, RamGauge, count_gpus, usable_bytes
from pipeline3d.generation.serving.residents import ModelHost
from pipeline3d.generation.serving.room import SharedRoom
from pipeline3d.generation.serving.watching import IsCanceled
from pipeline3d.generation.serving.wrapper import never
from pipeline3d.requests.gpu_leases import DeviceBoard, DeviceLease, DeviceUse
from resources.jobs_database import JobsDatabase

SHOW_S = 5.0
"""Devices are shown anew this often, and soon after something changed."""
VISIBLE = "CUDA_VISIBLE_DEVICES"

logger = logging.getLogger("pipeline3d.models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device: `name` as the host knows it (`cpu`, `cuda:1`, `cuda:GPU-…`), `local` as this process does."""

    name: str
    local: str

    @property
    def visible(self) -> str:
        """What `CUDA_VISIBLE_DEVICES` is for a program that is to see this device only."""
        return "" if self.name == CPU else self.name.partition(":")[2]


class Devices(dg.ConfigurableResource["Devices"]):
    """The devices that runs of this host share. `lease_dir` is the same for all workers of the host."""

    jobs_database: JobsDatabase
    lease_dir: str
    worker_id: str | None = None
    ram_budget_bytes: int | None = None
    """What runs on the CPU may have together; most of the RAM where it is not set."""
    wait_s: float = 600.0

    def choose(self, wanted: str = "auto") -> Device:
        """The device for a model that wants `cpu`, `cuda`, `cuda:N` or the best there is.

        Raises ModelNotReady `device_missing` where it wants a GPU and this process sees none.
        """
        return choose_device(wanted, os.environ.get(VISIBLE), count_gpus())

    @contextmanager
    def hold(
        self,
        device: Device,
        *,
        model: str,
        run_id: str | None = None,
        reserved_bytes: int = 0,
        is_canceled: IsCanceled = never,
    ) -> Iterator[DeviceHold]:
        """Have the device for the block: a GPU alone, the RAM with others up to the budget.

        Raises TransientFailure `device_busy` after `wait_s`, LeaseLost `canceled`.
        """
        budget = self.ram_budget_bytes or usable_bytes(RamGauge().total_bytes())
        display = self.display()
        with DeviceLedger(Path(self.lease_dir)).hold(
            device.name,
            model=model,
            run_id=run_id,
            reserved_bytes=reserved_bytes,
            budget_bytes=budget,
            is_canceled=is_canceled,
            wait_s=self.wait_s,
        ) as hold:
            display.note(device.name, hold)
            try:
                yield hold
            finally:
                display.note(device.name, None)

    def room(self, device: Device) -> SharedRoom:
        """How processes of this host ask each other for memory of a device."""
        return SharedRoom(Path(self.lease_dir) / f"{device.name.replace(':', '-')}.wanted")

    def list_uses(self) -> tuple[DeviceLease, ...]:
        """What all hosts show, for people."""
        return _board(self.jobs_database.url).list()

    def display(self) -> DeviceDisplay:
        """Shows what this process does with its devices."""
        return _display(os.getpid(), self.jobs_database.url, self.worker_id)


def choose_device(wanted: str, visible: str | None, gpus: int) -> Device:
    """Which device is meant, by what `CUDA_VISIBLE_DEVICES` lets this process see."""
    if visible is None:
        names = [str(number) for number in range(gpus)]
    else:
        names = (
            [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")] if gpus else []
        )
    if wanted == CPU or (wanted == "auto" and not names):
        return Device(name=CPU, local=CPU)
    kind, _, number = wanted.partition(":")
    index = int(number) if number.isdigit() else 0
    if (wanted != "auto" and kind != "cuda") or index >= len(names):
        raise make_error(
            "device_missing",
            f"The device {wanted} is not here; this process sees {', '.join(names) or 'no'} GPU.",
        )
    return Device(name=f"cuda:{names[index]}", local=f"cuda:{index}")


class DeviceDisplay:
    """Shows in Postgres, from a thread of its own, what this process does with its devices."""

    def __init__(self, board: DeviceBoard, worker_id: str | None) -> None:
        self._board = board
        self._worker_id = worker_id
        self._holds: dict[str, DeviceHold | None] = {}
        self._hosts: dict[str, ModelHost] = {}
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def note(self, device: str, hold: DeviceHold | None) -> None:
        """A run took the device, or gave it back."""
        with self._lock:
            self._holds[device] = hold
            if self._thread is None:
                self._thread = threading.Thread(target=self._show_always, name="shows-devices", daemon=True)
                self._thread.start()
        self._changed.set()

    def watch(self, host: ModelHost) -> None:
        """Show the models of a host too."""
        with self._lock:
            self._hosts[host.device] = host
            self._holds.setdefault(host.device, None)

    def show(self) -> None:
        """Write it once. Raises what the database raises."""
        for use in self.uses():
            self._board.show(use)
        self._board.remove_silent()

    def uses(self) -> list[DeviceUse]:
        """What there is to show."""
        with self._lock:
            holds, hosts = dict(self._holds), dict(self._hosts)
        return [_use(device, hold, hosts.get(device), self._worker_id) for device, hold in holds.items()]

    def _show_always(self) -> None:
        while True:
            try:
                self.show()
            except (Pipeline3dError, SQLAlchemyError, OSError) as error:
                logger.debug("devices are not shown: %s", error)
            self._changed.wait(SHOW_S)
            self._changed.clear()


def _use(device: str, hold: DeviceHold | None, host: ModelHost | None, worker_id: str | None) -> DeviceUse:
    standing = None if host is None else host.standing()
    return DeviceUse(
        host=platform.node(),
        device=device,
        pid=os.getpid(),
        worker_id=worker_id,
        run_id=None if hold is None else hold.run_id,
        model=None if hold is None else hold.model,
        reserved_bytes=0 if hold is None else hold.reserved_bytes,
        limit_bytes=None if standing is None else standing.limit_bytes,
        free_bytes=None if standing is None else standing.free_bytes,
        residents=() if standing is None else [resident.as_json() for resident in standing.residents],
    )


@lru_cache(maxsize=4)
def _board(url: str) -> DeviceBoard:
    return DeviceBoard(create_sync_engine(url, pool_size=1))


@lru_cache(maxsize=4)
def _display(pid: int, url: str, worker_id: str | None) -> DeviceDisplay:
    """One for each process: a fork has neither its parent's thread nor its connections."""
    return DeviceDisplay(DeviceBoard(create_sync_engine(url, pool_size=1)), worker_id)
