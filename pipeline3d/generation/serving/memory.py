"""How much memory a device has and has left: a GPU by NVML where it can be asked, else the RAM.

Asked of the driver or the system and not reckoned, so that what others use counts too.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import psutil

CPU = "cpu"
RESERVE_SHARE = 0.05
LEAST_RESERVE = 512 * 1024**2
"""This much stays free on a device, for contexts, fragments and whoever else works there."""


class MemoryGauge(Protocol):
    """What a device tells of its memory, in bytes."""

    def total_bytes(self) -> int:
        """All that there is."""

    def free_bytes(self) -> int:
        """What could be taken now."""


@dataclass(frozen=True, slots=True)
class RamGauge:
    """The machine's RAM, or the container's share of it."""

    cgroup: Path = Path("/sys/fs/cgroup")

    def total_bytes(self) -> int:
        """All that this container may use."""
        limit = _read_number(self.cgroup / "memory.max")
        total = int(psutil.virtual_memory().total)
        return total if limit is None else min(limit, total)

    def free_bytes(self) -> int:
        """What is available without swapping. Cached files count as free: they give way."""
        free = int(psutil.virtual_memory().available)
        limit, used = (_read_number(self.cgroup / f"memory.{name}") for name in ("max", "current"))
        if limit is None or used is None:
            return free
        cached = _read_statistic(self.cgroup / "memory.stat", "inactive_file")
        return max(0, min(free, limit - used + cached))


@dataclass(frozen=True, slots=True)
class VramGauge:
    """A GPU as NVML sees it, other processes included. `name` is its number in the machine or its UUID."""

    name: str

    def total_bytes(self) -> int:
        """All that is built in."""
        return int(_memory_info(self.name).total)

    def free_bytes(self) -> int:
        """What no process has."""
        return int(_memory_info(self.name).free)


def gauge_of(device: str) -> MemoryGauge | None:
    """The gauge of `cpu` or `cuda:NAME`; None for a GPU that nobody can ask, where a limit must be given."""
    if device == CPU:
        return RamGauge()
    kind, _, name = device.partition(":")
    nvml = _load_nvml()
    if kind != "cuda" or nvml is None:
        return None
    gauge = VramGauge(name or "0")
    try:
        gauge.total_bytes()
    except nvml.NVMLError:
        return None
    return gauge


def count_gpus() -> int:
    """GPUs that NVML knows; 0 where its Python package or its driver is missing."""
    nvml = _load_nvml()
    if nvml is None:
        return 0
    try:
        return int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError:
        return 0


def usable_bytes(total: int) -> int:
    """What models may use of a device of that size."""
    return max(0, total - max(int(total * RESERVE_SHARE), min(LEAST_RESERVE, total // 4)))


@cache
def _load_nvml() -> ModuleType | None:
    """NVML, begun once in this process; `nvidia-ml-py` is optional."""
    try:
        import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return None
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        found: ModuleType = pynvml
        return found
    return None


def _memory_info(name: str) -> Any:
    nvml = _load_nvml()
    if nvml is None:
        raise RuntimeError("NVML is not there")
    find = nvml.nvmlDeviceGetHandleByIndex if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID
    return nvml.nvmlDeviceGetMemoryInfo(find(int(name) if name.isdigit() else name))


def _read_number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" is no limit


def _read_statistic(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(value) for key, _, value in (line.partition(" ") for line in lines) if key == name), 0)
