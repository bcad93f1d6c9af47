"""Keeps models in memory between runs, as many as a device's budget holds, and lets the right one go.

The invariants: what is charged to the models is never above the budget, a model that somebody uses is never
evicted, and a model is loaded by one at a time while the others wait for it. Everything happens under one
lock but what takes long: loading, running, closing. Thread-safe; not to be used across a fork.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from pipeline3d.errors import Pipeline3dError
from pipeline3d.generation.serving.eviction import Holding, decay_uses, plan_eviction
from pipeline3d.generation.serving.failures import copy_error, make_error
from pipeline3d.generation.serving.memory import MemoryGauge, usable_bytes
from pipeline3d.generation.serving.peaks import PeakBook
from pipeline3d.generation.serving.room import SharedRoom
from pipeline3d.generation.serving.servable import ModelSpec, is_out_of_memory
from pipeline3d.generation.serving.standing import HostStanding, ModelCounts
from pipeline3d.generation.serving.use import Resident, Use
from pipeline3d.generation.serving.watching import IsCanceled
from pipeline3d.generation.serving.wrapper import never

M = TypeVar("M")
LOOK_S = 0.1
"""How often one that waits looks whether it is still wanted."""
SETTLE_S = 2.0
"""So long after a process ended its memory may still be counted as taken."""
OTHERS_LEAVE_S = 5.0
"""So long other processes have to let their idle models go when they are asked to."""
ROOM_LOOK_S = 0.5

logger = logging.getLogger("pipeline3d.models")


class ModelHost:
    """The models of this process on one device."""

    def __init__(
        self,
        device: str,
        *,
        limit_bytes: int | None = None,
        gauge: MemoryGauge | None = None,
        peaks: PeakBook | None = None,
        room: SharedRoom | None = None,
        wait_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit_bytes` None takes what the gauge has, less a reserve. Raises ValueError without both.

        With `room`, idle models go when another process of the host asks for memory of the device.
        """
        if limit_bytes is None:
            if gauge is None:
                raise ValueError(f"nobody can tell the memory of {device}: give a limit")
            limit_bytes = usable_bytes(gauge.total_bytes())
        self.device = device
        self.limit_bytes = limit_bytes
        self._gauge = gauge
        self._reserve = 0 if gauge is None else gauge.total_bytes() - usable_bytes(gauge.total_bytes())
        self._peaks = peaks or PeakBook()
        self._room = room
        self._wait_s = wait_s
        self._clock = clock
        self._changed = threading.Condition()
        self._residents: dict[str, Resident] = {}
        self._counts: dict[str, ModelCounts] = {}
        self._inflation = 0.0
        self._settled_at = 0.0
        self._closed = False
        self._sweeper: threading.Thread | None = None

    # -- using a model

    @contextmanager
    def use(self, spec: ModelSpec[M], *, is_canceled: IsCanceled = never) -> Iterator[Use[M]]:
        """The model, loaded and nobody else's until the end of the block.

        Raises what loading raises; ModelNotReady `device_too_small`; TransientFailure `out_of_memory` and
        `device_busy`; LeaseLost `canceled`.
        """
        resident, was_warm = self._take(spec, is_canceled)
        try:
            yield Use(self, resident, was_warm=was_warm)
        finally:
            self._give_back(resident)

    def _take(self, spec: ModelSpec[Any], is_canceled: IsCanceled) -> tuple[Resident, bool]:
        deadline = self._clock() + self._wait_s
        while True:
            resident, is_new = self._find(spec, is_canceled, deadline)
            try:
                if not is_new and not resident.servable.is_well():
                    logger.warning("model %s has died and is loaded anew", spec.key)
                    self._remove(resident, deaths=1)
                    continue
                self._admit(resident, is_canceled, deadline)
                if is_new:
                    self._load(resident, is_canceled)
                else:
                    self.count(spec.key, hits=1)
            except BaseException as error:
                if is_new:
                    resident.failure = error
                    self._remove(resident)
                else:
                    self._rest(resident)
                raise
            return resident, not is_new

    def _find(self, spec: ModelSpec[Any], is_canceled: IsCanceled, deadline: float) -> tuple[Resident, bool]:
        """The resident model, once nobody else has it, or a new one that is still to be loaded."""
        awaited: Resident | None = None
        with self._changed:
            while True:
                if self._closed:
                    raise make_error("device_busy", "The worker's process is ending.")
                if awaited is not None and awaited.failure is not None and not _is_canceled(awaited.failure):
                    raise copy_error(awaited.failure)  # one load for all who waited for it
                resident = self._residents.get(spec.key)
                if resident is None:
                    resident = self._residents[spec.key] = Resident(spec, spec.open())
                    return resident, True
                if resident.state == "idle":
                    resident.state = "admitting"
                    return resident, False
                awaited = resident if not resident.loaded else None
                self._wait(is_canceled, deadline)

    def _admit(self, resident: Resident, is_canceled: IsCanceled, deadline: float) -> None:
        """Wait until what a run of the model needs is free, letting idle models go for it."""
        needed = self._needed(resident.spec)
        asked = self._room is None
        while True:
            with self._changed:
                short_of = needed - resident.held - self._available(resident)
                plan = plan_eviction(self._holdings(), short_of, self._inflation)
                if plan is not None:
                    victims = [self._residents[key] for key in plan.keys]
                    self._inflation = plan.inflation
                    for victim in victims:
                        victim.state = "closing"
                    if not victims:
                        resident.charged = max(needed, resident.held)
                        resident.state = "busy"
                        return
                elif self._may_get_better(resident):
                    self._wait(is_canceled, deadline)
                    continue
                elif not asked and self._room is not None:
                    self._room.ask()
                    asked, self._settled_at = True, self._clock() + OTHERS_LEAVE_S
                    continue
                else:
                    raise self.explain_shortage(resident.spec, {})
            for victim in victims:
                logger.info("model %s makes room for %s", victim.spec.key, resident.spec.key)
                self._remove(victim, evictions=1)

    def _load(self, resident: Resident, is_canceled: IsCanceled) -> None:
        key = resident.spec.key
        begun = self._clock()
        for last_try in (False, True):
            try:
                held = resident.servable.load(is_canceled)
                break
            except Exception as error:
                if last_try or not is_out_of_memory(error):
                    raise
            # Another process may have taken memory since it was asked for: try once more with all of ours.
            self.count(key, out_of_memory=1)
            resident.servable.close()
            self.shrink()
        seconds = self._clock() - begun
        with self._changed:
            resident.held = resident.baseline = resident.spec.weights_bytes if held is None else held
            resident.charged = max(resident.charged, resident.held)
            resident.loaded = True
            counts = self.counts_of(key).add(loads=1)
            self._counts[key] = replace(counts, load_s=round(seconds, 3))
        self._peaks.note(key, load_s=seconds)
        self._make_up_for(resident)

    def _give_back(self, resident: Resident) -> None:
        """After a run: keep the model, or let it go where it died, is spent, leaked or is not kept."""
        spec = resident.spec
        resident.runs += 1
        alive = resident.servable.is_well()
        held = resident.servable.memory_bytes() if alive else None
        if held is not None:
            resident.held = held
            resident.charged = max(resident.charged, held)
        too_many = spec.runs_at_most is not None and resident.runs >= spec.runs_at_most
        leaks = resident.held > resident.baseline + spec.growth_bytes
        self._make_up_for(resident)
        if not alive:
            self._remove(resident, deaths=1)
        elif resident.spent or too_many or leaks:
            self._remove(resident, recyclings=1)
        elif spec.idle_s == 0:
            self._remove(resident, expiries=1)
        else:
            self._rest(resident)

    def _rest(self, resident: Resident) -> None:
        now = self._clock()
        with self._changed:
            resident.uses = decay_uses(resident.uses, now - resident.used_at) + 1
            resident.used_at = now
            resident.inflation = self._inflation
            resident.charged = resident.held
            resident.state = "idle"
            self._changed.notify_all()
            if self._sweeper is None and (resident.spec.idle_s is not None or self._room is not None):
                self._sweeper = threading.Thread(target=self._sweep, name="lets-models-go", daemon=True)
                self._sweeper.start()

    # -- memory

    def _needed(self, spec: ModelSpec[Any]) -> int:
        """What a run of the model takes with its weights: as measured, else as declared."""
        if spec.weights_bytes > self.limit_bytes:
            raise make_error(
                "device_too_small",
                f"The model {spec.key} needs {spec.weights_bytes:,} bytes; {self.device} has "
                f"{self.limit_bytes:,} for models.",
                needed_bytes=spec.weights_bytes,
                free_bytes=self.limit_bytes,
            )
        learned = self._peaks.of(spec.key).peak_bytes
        # An estimate above the whole device is tried all the same: pieces can be made smaller.
        return min(learned or spec.weights_bytes + spec.working_bytes, self.limit_bytes)

    def _available(self, besides: Resident | None) -> int:
        """Bytes that are neither charged nor taken by others, and that `besides` does not hold already."""
        others = [resident for resident in self._residents.values() if resident is not besides]
        free = self.limit_bytes - sum(resident.charged for resident in others)
        free -= 0 if besides is None else besides.held
        if self._gauge is not None:
            promised = sum(max(0, resident.charged - resident.held) for resident in others)
            free = min(free, self._gauge.free_bytes() - self._reserve - promised)
        return free

    def _make_up_for(self, resident: Resident) -> None:
        """One that holds more than it was to hold has others leave for it, as far as that goes."""
        with self._changed:
            over = sum(other.charged for other in self._residents.values()) - self.limit_bytes
            plan = plan_eviction(self._holdings(), over, self._inflation)
            victims = [] if plan is None else [self._residents[key] for key in plan.keys]
            for victim in victims:
                victim.state = "closing"
        if plan is None:
            logger.warning("model %s holds %d bytes more than there are", resident.spec.key, over)
            self.shrink()
        for victim in victims:
            self._remove(victim, evictions=1)

    def _holdings(self) -> list[Holding]:
        now = self._clock()
        return [
            resident.holding(now, self._peaks.of(key).load_s) for key, resident in self._residents.items()
        ]

    def _may_get_better(self, waiting: Resident) -> bool:
        """Whether somebody works whose end would give memory back, or one has only just ended."""
        working = ("busy", "closing")
        others = (resident for resident in self._residents.values() if resident is not waiting)
        return self._clock() < self._settled_at or any(resident.state in working for resident in others)

    def relieve(self, resident: Resident, *, thoroughly: bool) -> None:
        """Give back what is only cached; thoroughly: let the idle models go as well."""
        if thoroughly:
            self.shrink()
        resident.servable.free()

    def shrink(self) -> int:
        """Let all idle models go; how many bytes they held."""
        with self._changed:
            victims = [resident for resident in self._residents.values() if resident.state == "idle"]
            for victim in victims:
                victim.state = "closing"
        for victim in victims:
            self._remove(victim, evictions=1)
        return sum(victim.held for victim in victims)

    def explain_shortage(self, spec: ModelSpec[Any], details: dict[str, Any]) -> Pipeline3dError:
        """The error of a run that does not get its memory."""
        needed = details.get("needed_bytes") or self._needed(spec)
        free = details.get("free_bytes")
        if free is None:
            with self._changed:
                free = max(0, self._available(self._residents.get(spec.key)))
        message = f"{self.device} has too little memory for {spec.key}: "
        message += f"{needed:,} bytes are needed, {free:,} are free."
        return make_error("out_of_memory", message, needed_bytes=needed, free_bytes=free)

    # -- the end of a resident

    def _remove(self, resident: Resident, **counted: int) -> None:
        """Close it and forget it. Its memory is charged until it is gone."""
        try:
            with self._changed:
                resident.state = "closing"
            with suppress(Exception):  # whatever it says at its end, it is over
                resident.servable.close()
        finally:
            self._forget(resident, counted)

    def _forget(self, resident: Resident, counted: dict[str, int]) -> None:
        with self._changed:
            if self._residents.get(resident.spec.key) is resident:
                del self._residents[resident.spec.key]
            self._settled_at = self._clock() + SETTLE_S
            if counted:
                self.count(resident.spec.key, **counted)
            self._changed.notify_all()

    def _sweep(self) -> None:
        """Let models go whose idle time is over."""
        while True:
            with self._changed:
                if self._closed:
                    return
                now = self._clock()
                due = {
                    key: resident.used_at + resident.spec.idle_s
                    for key, resident in self._residents.items()
                    if resident.state == "idle" and resident.spec.idle_s is not None
                }
                over = [self._residents[key] for key, moment in due.items() if moment <= now]
                for resident in over:
                    resident.state = "closing"
                if not over:
                    looks = [] if self._room is None else [ROOM_LOOK_S]
                    self._changed.wait(min([moment - now for moment in due.values()] + looks, default=None))
            for resident in over:
                self._remove(resident, expiries=1)
            if self._room is not None and self._room.is_asked():
                logger.info("another process needs memory of %s: idle models go", self.device)
                self.shrink()

    def close(self) -> None:
        """End all models. A run that is at work loses its own."""
        with self._changed:
            self._closed = True
            residents = list(self._residents.values())
            self._changed.notify_all()
        for resident in residents:
            self._remove(resident)

    # -- what there is to tell

    def counts_of(self, key: str) -> ModelCounts:
        """What happened to a model in this process so far."""
        counts = self._counts.get(key, ModelCounts())
        return replace(counts, peak_bytes=max(counts.peak_bytes, self._peaks.of(key).peak_bytes))

    def count(self, key: str, **more: int) -> None:
        """Count something that happened to a model."""
        with self._changed:
            self._counts[key] = self._counts.get(key, ModelCounts()).add(**more)

    def learn_peak(self, key: str, peak_bytes: int) -> None:
        """Remember the most that a run of a model took."""
        self._peaks.note(key, peak_bytes=peak_bytes)

    def standing(self) -> HostStanding:
        """What is in memory now."""
        with self._changed:
            now = self._clock()
            residents = tuple(
                resident.describe(now, self.counts_of(key)) for key, resident in self._residents.items()
            )
        return HostStanding(
            device=self.device,
            limit_bytes=self.limit_bytes,
            held_bytes=sum(resident.held_bytes for resident in residents),
            free_bytes=None if self._gauge is None else self._gauge.free_bytes(),
            residents=residents,
        )

    def _wait(self, is_canceled: IsCanceled, deadline: float) -> None:
        """Wait a moment for a change, under the lock. Raises LeaseLost `canceled`, `device_busy`."""
        if is_canceled():
            raise make_error("canceled")
        if self._clock() > deadline:
            raise make_error("device_busy", f"{self.device} was busy for {self._wait_s:g} s.")
        self._changed.wait(LOOK_S)


def _is_canceled(error: BaseException) -> bool:
    """Whether a load ended only because its own run was not wanted any more."""
    return not isinstance(error, Exception) or getattr(error, "code", None) == "canceled"
