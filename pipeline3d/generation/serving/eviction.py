"""Which idle models go when another one needs their memory: GreedyDual-Size with frequency, pure.

A model's credit is the device's inflation when it was last used, plus what it would cost to have it again for
each byte that it holds: reload seconds × recent uses / bytes. The lowest credit goes first, and the inflation
rises to it, so that what is never used goes in the end, however dear it was to load. After Cao and Irani,
"Cost-Aware WWW Proxy Caching Algorithms" (1997), and Cherkasova's GDSF (1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HALF_LIFE_S = 600.0
"""A use counts half as much after this time: what was popular yesterday is not popular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A resident model as the rule sees it. `inflation` is the device's at its last use."""

    key: str
    held_bytes: int
    reload_s: float
    recent_uses: float
    inflation: float = 0.0
    busy: bool = False

    @property
    def credit(self) -> float:
        """What it is worth to keep it."""
        return self.inflation + self.reload_s * self.recent_uses / max(1, self.held_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """Who goes, in this order, and the device's inflation afterwards."""

    keys: tuple[str, ...]
    inflation: float


def plan_eviction(holdings: Sequence[Holding], must_free: int, inflation: float) -> Eviction | None:
    """The cheapest idle models whose bytes together are enough; None where all of them are not."""
    if must_free <= 0:
        return Eviction(keys=(), inflation=inflation)
    chosen: list[Holding] = []
    for holding in sorted(idle(holdings), key=lambda holding: (holding.credit, holding.key)):
        if sum(other.held_bytes for other in chosen) >= must_free:
            break
        chosen.append(holding)
    if sum(holding.held_bytes for holding in chosen) < must_free:
        return None
    chosen = _spare_the_needless(chosen, must_free)
    return Eviction(
        keys=tuple(holding.key for holding in chosen),
        inflation=max([inflation, *(holding.credit for holding in chosen)]),
    )


def idle(holdings: Sequence[Holding]) -> list[Holding]:
    """Those that nobody uses and that hold anything."""
    return [holding for holding in holdings if not holding.busy and holding.held_bytes > 0]


def _spare_the_needless(chosen: list[Holding], must_free: int) -> list[Holding]:
    """A large one that was chosen last may do alone what smaller ones before it were chosen for."""
    freed = sum(holding.held_bytes for holding in chosen)
    kept = []
    for holding in reversed(chosen):
        if freed - holding.held_bytes >= must_free:
            freed -= holding.held_bytes
        else:
            kept.append(holding)
    return kept[::-1]


def decay_uses(uses: float, idle_s: float) -> float:
    """Recent uses after a time without any."""
    return float(uses * 0.5 ** (max(0.0, idle_s) / HALF_LIFE_S))
