"""Models that stay in memory from run to run, as a resource: one host of models per process and device.

They belong to the process that executes the runs: they end with it, also when it is killed. What they were
seen to need is kept in a file that all workers of the host share.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import dagster as dg

from pipeline3d.generation.serving.failures import make_error
from pipeline3d.generation.serving.memory import CPU, gauge_of
from pipeline3d.generation.serving.peaks import PeakBook
from pipeline3d.generation.serving.residents import ModelHost
from pipeline3d.generation.serving.servable import ModelSpec
from pipeline3d.generation.serving.standing import HostStanding
from pipeline3d.generation.serving.use import Use
from pipeline3d.generation.serving.watching import IsCanceled
from pipeline3d.generation.serving.wrapper import never
from resources.gpu import Device, Devices

M = TypeVar("M")


class Models(dg.ConfigurableResource["Models"]):
    """Warm models. The limits are what models may hold on a device; most of it where they are not set."""

    devices: Devices
    peaks_file: str
    cpu_limit_bytes: int | None = None
    gpu_limit_bytes: int | None = None

    @contextmanager
    def use(
        self,
        spec: ModelSpec[M],
        *,
        device: Device,
        run_id: str | None = None,
        is_canceled: IsCanceled = never,
    ) -> Iterator[Use[M]]:
        """The device and the model, loaded, for one run and nobody else until the end of the block.

        Raises what loading raises; TransientFailure `device_busy` and `out_of_memory`; ModelNotReady
        `device_too_small`; LeaseLost `canceled`.
        """
        host = self.host(device)
        with (
            self.devices.hold(
                device,
                model=spec.key,
                run_id=run_id,
                reserved_bytes=spec.weights_bytes + spec.working_bytes,
                is_canceled=is_canceled,
            ),
            host.use(spec, is_canceled=is_canceled) as use,
        ):
            yield use

    def host(self, device: Device) -> ModelHost:
        """The models of this process on a device. Raises ModelNotReady where its memory is not known."""
        key = (os.getpid(), device.name)
        with _lock:
            if key not in _hosts:
                _hosts[key] = self._make_host(device)
                self.devices.display().watch(_hosts[key])
            return _hosts[key]

    def _make_host(self, device: Device) -> ModelHost:
        limit = self.cpu_limit_bytes if device.name == CPU else self.gpu_limit_bytes
        gauge = gauge_of(device.name)
        if limit is None and gauge is None:
            raise make_error("device_missing", f"Nobody can tell how much memory {device.name} has.")
        return ModelHost(
            device.name,
            limit_bytes=limit,
            gauge=gauge,
            peaks=PeakBook(Path(self.peaks_file)),
            room=self.devices.room(device),
            wait_s=self.devices.wait_s,
        )


def list_standings() -> tuple[HostStanding, ...]:
    """The models of this process on all devices."""
    with _lock:
        hosts = [host for (pid, _), host in _hosts.items() if pid == os.getpid()]
    return tuple(host.standing() for host in hosts)


def close_models() -> None:
    """End the models of this process. A fork leaves those of its parent alone."""
    with _lock:
        hosts = [_hosts.pop(key) for key in list(_hosts) if key[0] == os.getpid()]
    for host in hosts:
        host.close()


_hosts: dict[tuple[int, str], ModelHost] = {}
_lock = threading.Lock()
atexit.register(close_models)
