"""In which order lines of history may be told, when their ids are given before they commit.

Ids are given one after the other, so where one is missing below another, its transaction either has yet to
commit or never will. What follows such a gap is held back until that is known: until every transaction that
was writing history when the gap was seen is over, and the lines were read once more. That takes milliseconds,
and only where two commits cross.

A transaction that stays open for long must not stop the others' streams. After `HOLD_S` the lines behind it
are told without being settled: a reader that resumes gets them again, and what was missing once it commits.
Pure: knows no clock and no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

HOLD_S = 1.0
"""So long do lines behind a gap wait for it."""

GIVE_UP_S = 60.0
MAX_UNSETTLED = 5_000
"""A gap that is older, or has so many lines behind it, is taken for one that never fills."""


class Line(Protocol):
    """Anything with the id of a line of history."""

    @property
    def id(self) -> int:
        """Given in ascending order, before the line is visible."""


L = TypeVar("L", bound=Line)


@dataclass(frozen=True, slots=True)
class Told(Generic[L]):
    """A line that may be told now. Once one is settled, nothing below its id is missing."""

    line: L
    is_settled: bool


@dataclass(slots=True)
class _Doubt:
    """Ids up to `until` are missing, and these transactions may yet show them."""

    until: int
    since: float
    writers: frozenset[str] | None = None

    @property
    def is_over(self) -> bool:
        return self.writers is not None and not self.writers


class EventOrder(Generic[L]):
    """Takes lines as they are read and gives them back in the order in which they may be told."""

    def __init__(self, settled: int) -> None:
        self.settled = settled
        """Nothing up to this id will appear any more."""
        self._unsettled: dict[int, L] = {}
        self._told: set[int] = set()
        self._doubt: _Doubt | None = None
        self.gaps_given_up = 0

    @property
    def seen(self) -> list[int]:
        """The ids above `settled` that were read: they need not be read again."""
        return list(self._unsettled)

    @property
    def told_unsettled(self) -> frozenset[int]:
        """The ids above `settled` that were told: they are not told again."""
        return frozenset(self._told)

    @property
    def in_doubt(self) -> bool:
        """Whether a gap waits for `note_writers` and another reading."""
        return self._doubt is not None

    @property
    def waits_for_writers(self) -> bool:
        """Whether the gap cannot end before one of the writers does: it need not be read again at once."""
        return self._doubt is not None and not self._doubt.is_over

    @property
    def is_held_up(self) -> bool:
        """Whether lines are told although a gap before them is open: it need not be looked at so often."""
        return bool(self._told)

    def note_writers(self, writers: Iterable[str]) -> None:
        """Say which transactions write history now; to be followed by another reading."""
        if self._doubt is None:
            return
        found = frozenset(writers)
        before = self._doubt.writers
        self._doubt.writers = found if before is None else before & found

    def take(self, lines: Sequence[L], now: float, *, is_whole: bool = True) -> list[Told[L]]:
        """What may be told, now that these lines were read after `settled`, which were not seen yet.

        `is_whole` says that there are no more; otherwise more follow after the last of them.
        """
        self._unsettled.update((line.id, line) for line in lines)
        told: list[Told[L]] = []
        doubt = self._doubt
        was_read = doubt is not None and (is_whole or lines[-1].id >= doubt.until)
        if doubt is not None and was_read and self._may_end(doubt, now):
            for number in sorted(number for number in self._unsettled if number <= doubt.until):
                self._settle(number, told)
            self.settled = max(self.settled, doubt.until)
            self._doubt = None
        while self.settled + 1 in self._unsettled:
            self._settle(self.settled + 1, told)
        if self._doubt is not None and self.settled >= self._doubt.until:
            self._doubt = None
        if self._unsettled and self._doubt is None:
            self._doubt = _Doubt(until=max(self._unsettled), since=now)
        if self._doubt is not None and now - self._doubt.since >= HOLD_S:
            self._tell_unsettled(told)
        return told

    def _may_end(self, doubt: _Doubt, now: float) -> bool:
        if doubt.is_over:
            return True
        if now - doubt.since < GIVE_UP_S and len(self._unsettled) < MAX_UNSETTLED:
            return False
        self.gaps_given_up += 1
        return True

    def _settle(self, number: int, told: list[Told[L]]) -> None:
        line = self._unsettled.pop(number)
        if number in self._told:
            self._told.discard(number)
        else:
            told.append(Told(line, is_settled=True))
        self.settled = number

    def _tell_unsettled(self, told: list[Told[L]]) -> None:
        for number in sorted(self._unsettled.keys() - self._told):
            told.append(Told(self._unsettled[number], is_settled=False))
            self._told.add(number)
