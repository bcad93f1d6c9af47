"""What the wrappers that hold a torch model ask of the device; torch is imported by the model, never here."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import Any, ContextManager


def go_offline() -> None:
    """Weights come from this machine unless the caller says otherwise: nothing waits for a network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", os.environ["HF_HUB_OFFLINE"])
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def cpu_is_forced() -> bool:
    """SF3D's own switch."""
    return os.environ.get("SF3D_USE_CPU") == "1"


def pick() -> str:
    """'cuda', 'mps' or 'cpu', whichever torch has here; no number, CUDA_VISIBLE_DEVICES selects."""
    import torch

    if cpu_is_forced():
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    mps = getattr(torch.backends, "mps", None)
    return "mps" if mps is not None and mps.is_available() else "cpu"


def _cuda() -> Any:
    """torch.cuda where a model has started it already; looking must not start it."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_available() and cuda.is_initialized() else None


def empty_cache() -> None:
    """Give back what torch keeps for later."""
    import gc

    gc.collect()
    cuda = _cuda()
    if cuda is not None:
        cuda.empty_cache()


def reserved_bytes() -> int | None:
    """What torch has taken from the device, its cache included."""
    cuda = _cuda()
    return None if cuda is None else int(cuda.memory_reserved())


def reset_peak() -> None:
    """Start measuring the peak anew."""
    cuda = _cuda()
    if cuda is not None:
        cuda.reset_peak_memory_stats()


def peak_bytes() -> int | None:
    """The most that torch had taken since `reset_peak`."""
    cuda = _cuda()
    return None if cuda is None else int(cuda.max_memory_reserved())


def half_precision(torch: Any, device: str) -> ContextManager[Any]:
    """float16 where the device is fast in it, as upstream does."""
    if device.startswith("cuda"):
        return torch.autocast(device_type="cuda", dtype=torch.float16)
    return contextlib.nullcontext()


def parse_megabytes(line: str) -> list[int]:
    """The bytes of upstream's 'Peak Memory: 6081.4 MB'; empty where there is no number."""
    found = re.search(r"([\d.]+)\s*MB", line)
    try:
        return [int(float(found.group(1)) * (1 << 20))] if found else []
    except ValueError:
        return []
