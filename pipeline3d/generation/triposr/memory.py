"""Out of memory as an error of ours, with the bytes that were asked for and those that were free."""

from __future__ import annotations

import os
import re

import torch

from pipeline3d.errors import TransientFailure

UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
ASKED = re.compile(r"allocate ([0-9.]+) (bytes|[KMGT]iB)")
"""Torch says "Tried to allocate 20.00 MiB" on devices and "you tried to allocate 123 bytes" on the CPU."""
CPU_WORDS = "DefaultCPUAllocator"


def is_out_of_memory(failure: BaseException) -> bool:
    """Torch raises its own class for a device and a plain RuntimeError for the CPU."""
    if isinstance(failure, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(failure, RuntimeError) and (
        CPU_WORDS in str(failure) or "out of memory" in str(failure).lower()
    )


def out_of_memory(failure: BaseException, device: torch.device, doing: str) -> TransientFailure:
    """The report: another attempt may find more room, or a device with more."""
    asked = ASKED.search(str(failure))
    needed = int(float(asked[1]) * UNITS[asked[2]]) if asked else None
    free = free_bytes(device)
    return TransientFailure(
        f"Out of memory on {device} while {doing}: "
        f"{'an unknown number of' if needed is None else f'{needed:,}'} bytes were asked for, "
        f"{free:,} were free.",
        code="out_of_memory",
        hint="Close what else uses the device, or ask for a lower quality.",
        details={"needed_bytes": needed, "free_bytes": free, "device": str(device)},
    )


def free_bytes(device: torch.device) -> int:
    """What could be had now: for the CPU an estimate of the system's."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
