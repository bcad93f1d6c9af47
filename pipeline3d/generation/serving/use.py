"""A resident model, and one run's hold on it with the ladder of a run that is out of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pipeline3d.generation.serving.eviction import Holding, decay_uses
from pipeline3d.generation.serving.servable import ModelSpec, Servable, is_out_of_memory
from pipeline3d.generation.serving.standing import ModelCounts, ResidentStanding

if TYPE_CHECKING:
    from pipeline3d.generation.serving.residents import ModelHost

M = TypeVar("M")
R = TypeVar("R")
DIVISORS = (1, 2, 4)
"""The rungs of the ladder of a run that is out of memory: its pieces are made so much smaller."""


@dataclass(slots=True, eq=False)
class Resident:
    """A model that is in memory or on its way there. `charged` is what the budget counts for it."""

    spec: ModelSpec[Any]
    servable: Servable[Any]
    state: str = "admitting"
    loaded: bool = False
    held: int = 0
    charged: int = 0
    baseline: int = 0
    runs: int = 0
    uses: float = 0.0
    inflation: float = 0.0
    used_at: float = 0.0
    spent: bool = False
    failure: BaseException | None = None

    def holding(self, now: float, load_s: float | None) -> Holding:
        """As the rule of the evictions sees it; `load_s` as measured, where it was."""
        return Holding(
            key=self.spec.key,
            held_bytes=self.held,
            reload_s=load_s or self.spec.reload_s,
            recent_uses=decay_uses(self.uses, now - self.used_at),
            inflation=self.inflation,
            busy=self.state != "idle",
        )

    def describe(self, now: float, counts: ModelCounts) -> ResidentStanding:
        """As people see it."""
        return ResidentStanding(
            key=self.spec.key,
            state=self.state if self.loaded else "loading",
            held_bytes=self.held,
            runs=self.runs,
            idle_s=round(now - self.used_at, 1) if self.state == "idle" else 0.0,
            pid=self.servable.pid,
            counts=counts,
        )


class Use(Generic[M]):
    """A model in the hands of one run. `was_warm` says that nothing had to be loaded for it."""

    def __init__(self, host: ModelHost, resident: Resident, *, was_warm: bool) -> None:
        self._host = host
        self._resident = resident
        self.was_warm = was_warm

    @property
    def model(self) -> M:
        """The model, or its wrapper."""
        model: M = self._resident.servable.model
        return model

    @property
    def counts(self) -> ModelCounts:
        """What happened to this model in this process so far."""
        return self._host.counts_of(self._resident.spec.key)

    def run(self, work: Callable[[M, int], R]) -> R:
        """Call `work(model, divisor)`: once, and where memory runs out with smaller pieces, twice at most.

        Before the second time cached memory is given back, before the third the idle models go. Raises
        TransientFailure `out_of_memory` with the needed and free bytes after that.
        """
        details: dict[str, Any] = {}
        for rung, divisor in enumerate(DIVISORS):
            try:
                return work(self.model, divisor)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # The error itself holds the frames, and these the memory that is to be given back.
                details = dict(getattr(error, "details", {}))
            self._host.count(self._resident.spec.key, out_of_memory=1)
            if rung + 1 < len(DIVISORS):
                self._host.relieve(self._resident, thoroughly=rung > 0)
        self._resident.spent = True
        raise self._host.explain_shortage(self._resident.spec, details)

    def note_peak(self, peak_bytes: int | None) -> None:
        """Remember the most that a run took, so that the next one is given as much."""
        if peak_bytes:
            self._host.learn_peak(self._resident.spec.key, peak_bytes)
