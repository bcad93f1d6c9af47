"""Devices and the models that are warm on them, as tables for a person and as JSON for a program.

Reads nothing by itself: what workers show is handed in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from pipeline3d.queue_view import describe_seconds
from pipeline3d.requests.gpu_leases import DeviceLease

_UNITS = ("B", "KB", "MB", "GB", "TB")
_STEP = 1000.0


def render_json(leases: Sequence[DeviceLease]) -> str:
    """Everything that the workers show."""
    return json.dumps([asdict(lease) for lease in leases], default=str, indent=2)


def print_tables(leases: Sequence[DeviceLease], console: Console) -> None:
    """The devices with who works on them, and the models that are in memory."""
    console.print(
        Group(build_device_table(leases), "", _models(leases))
        if leases
        else "No process keeps a model or works on a device."
    )


def describe_bytes(size: int | None) -> str:
    """`2400000000` → `2.4 GB`; nothing where nobody knows."""
    if size is None:
        return ""
    value, unit = float(size), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit > 1 else f"{value:.0f} {_UNITS[unit]}"


def build_device_table(leases: Sequence[DeviceLease]) -> Table:
    """The devices: who works there and for how long, and what models hold of their memory."""
    table = Table(title="Devices", title_justify="left")
    for name in ("host", "device", "worker", "process", "at work", "run"):
        table.add_column(name)
    for name in ("for", "models hold", "of", "free"):
        table.add_column(name, justify="right")
    for lease in leases:
        use = lease.use
        held = sum(_number(resident, "held_bytes") for resident in use.residents)
        sizes = (describe_bytes(held), describe_bytes(use.limit_bytes), describe_bytes(use.free_bytes))
        table.add_row(
            use.host,
            use.device,
            use.worker_id or "-",
            str(use.pid),
            use.model or "[dim]idle[/]",
            use.run_id or "",
            describe_seconds(lease.taken_s),
            *sizes,
        )
    return table


def _models(leases: Sequence[DeviceLease]) -> Table | str:
    if not any(lease.use.residents for lease in leases):
        return "No model is in memory."
    table = Table(title="Models in memory", title_justify="left")
    for name in ("model", "device", "process", "state"):
        table.add_column(name)
    for name in ("holds", "peak", "runs", "idle", "loads", "hits", "evicted", "died", "load takes"):
        table.add_column(name, justify="right")
    for lease in leases:
        for resident in lease.use.residents:
            table.add_row(*_model_row(lease, resident))
    return table


def _model_row(lease: DeviceLease, resident: Mapping[str, Any]) -> tuple[str, ...]:
    counts = resident.get("counts")
    counts = counts if isinstance(counts, Mapping) else {}
    numbers = (str(_number(counts, name)) for name in ("loads", "hits", "evictions", "deaths"))
    return (
        str(resident.get("key", "?")),
        f"{lease.use.host} {lease.use.device}",
        str(resident.get("pid") or lease.use.pid),
        _state(str(resident.get("state", "?"))),
        describe_bytes(_number(resident, "held_bytes")),
        describe_bytes(_number(counts, "peak_bytes") or None),
        str(_number(resident, "runs")),
        describe_seconds(float(resident.get("idle_s") or 0.0)),
        *numbers,
        f"{float(counts.get('load_s') or 0.0):.1f} s",
    )


def _state(state: str) -> str:
    colours = {"busy": "green", "loading": "yellow", "closing": "yellow"}
    return f"[{colours[state]}]{state}[/]" if state in colours else state


def _number(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    return int(value) if isinstance(value, int | float) else 0
