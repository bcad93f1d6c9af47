"""What the host of the models says of itself: counts for metadata, a picture of now for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCounts:
    """What happened to a model in this process since it began. `load_s` is the last load's."""

    loads: int = 0
    hits: int = 0
    evictions: int = 0
    expiries: int = 0
    recyclings: int = 0
    deaths: int = 0
    out_of_memory: int = 0
    peak_bytes: int = 0
    load_s: float = 0.0

    def add(self, **more: int) -> ModelCounts:
        """The counts after something more happened."""
        return replace(self, **{name: getattr(self, name) + count for name, count in more.items()})

    def as_metadata(self) -> dict[str, Any]:
        """For an asset."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentStanding:
    """A model in memory. `state` is loading, idle, busy or closing; `pid` of its process, if it has one."""

    key: str
    state: str
    held_bytes: int
    runs: int
    idle_s: float
    pid: int | None
    counts: ModelCounts

    def as_json(self) -> dict[str, Any]:
        """For a table."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStanding:
    """The models of one process on one device, in bytes. `free_bytes` None where nobody can tell."""

    device: str
    limit_bytes: int
    held_bytes: int
    free_bytes: int | None
    residents: tuple[ResidentStanding, ...] = ()
