"""Keeps the newest snapshot of the queues for one process, so that hardly an answer waits for one.

An answer takes what is there, and where that is older than a second a newer one is read behind its back: at
most one at a time, only when somebody asks, and never so often that Postgres does little else. Knows no SQL
and no clock but a monotonic one: moments are those of the snapshots, which are by the clock of Postgres.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.requests.outlook import QueueView
from pipeline3d.requests.queue_snapshot import QueueSnapshot

logger = logging.getLogger("pipeline3d.requests")

RENEWED_AFTER_S = 1.0
TOO_OLD_S = 5.0
"""Nobody is answered from one that ought to be newer by so much: nobody asked for a while, or it failed."""

REST_FACTOR = 20
"""A snapshot is renewed behind the back of those who ask after at least this many times what it took."""
HURRIED_REST_FACTOR = 4
"""The same while somebody waits for it: many new requests at once share a snapshot."""

LONGEST_WAIT_S = 5.0
"""So long somebody waits for a snapshot at most: an answer without an outlook is better than none."""


class SnapshotKeeper:
    """The newest snapshot, for the tasks of one event loop."""

    def __init__(
        self, read: Callable[[], Awaitable[QueueSnapshot]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._snapshot: QueueSnapshot | None = None
        self._read_at = 0.0
        self._tried_at = 0.0
        self._rested_at = 0.0
        self._took_s = 0.0
        self._renewal: asyncio.Task[None] | None = None
        self._is_reading = False
        self._is_failing = False

    async def look(self) -> QueueView | None:
        """What is there, unless it is too old; waits only where there is nothing such.

        None where none can be read now. Raises what reading raises, other than `DatabaseUnavailable`.
        """
        if self._snapshot is None or self._age_s > TOO_OLD_S + REST_FACTOR * self._took_s:
            return await self.look_anew()
        is_due = self._clock() - self._tried_at >= RENEWED_AFTER_S
        if is_due and self._rest_s(REST_FACTOR) <= 0:
            self._begin_renewal(0.0)
        return self._view()

    async def look_anew(self) -> QueueView | None:
        """Wait for a snapshot that is taken after this call; otherwise as `look`."""
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                while self._is_reading:
                    await asyncio.wait([self._begin_renewal(0.0)])
                # Whoever stops waiting leaves it to the others.
                await asyncio.shield(self._begin_renewal(max(self._rest_s(HURRIED_REST_FACTOR), 0.0)))
        except (DatabaseUnavailable, TimeoutError):
            return None
        return self._view(is_after_question=True)

    async def look_anew_soon(self, patience_s: float) -> QueueView | None:
        """As `look_anew` where that is expected to take no longer than this; None, at once, where it is not.

        For those who would rather have an answer without a place than wait behind many others. Postgres reads
        for them no more often than where nobody waits: many new requests would keep it at nothing else.
        """
        if self._is_reading or self._rest_s(REST_FACTOR) > 0 or self._took_s > patience_s:
            return None
        return await self.look_anew()

    async def close(self) -> None:
        """End what is still being read."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    @property
    def _age_s(self) -> float:
        return self._clock() - self._read_at

    def _rest_s(self, factor: float) -> float:
        """How long Postgres is left in peace yet."""
        return self._rested_at + factor * self._took_s - self._clock()

    def _view(self, *, is_after_question: bool = False) -> QueueView | None:
        if self._snapshot is None:
            return None
        now = self._snapshot.taken_at + timedelta(seconds=self._age_s)
        return QueueView(snapshot=self._snapshot, now=now, is_after_question=is_after_question)

    def _begin_renewal(self, delay_s: float) -> asyncio.Task[None]:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(delay_s))
            self._renewal.add_done_callback(self._note_outcome)
        return self._renewal

    async def _renew(self, delay_s: float) -> None:
        if delay_s:
            await asyncio.sleep(delay_s)
        self._tried_at = began = self._clock()
        self._is_reading = True
        try:
            snapshot = await self._read()
        finally:
            self._is_reading = False
            self._rested_at = self._clock()
            self._took_s = self._rested_at - began
        # As old as the question, not as the answer: it never looks newer than it is.
        self._snapshot, self._read_at = snapshot, began

    def _note_outcome(self, renewal: asyncio.Task[None]) -> None:
        """Log the first of several failures in a row; nobody may be waiting who would tell of it."""
        if renewal.cancelled():
            return
        error = renewal.exception()
        if error is not None and not self._is_failing:
            is_outage = isinstance(error, DatabaseUnavailable)
            logger.warning("The queue cannot be read: %s", error, exc_info=None if is_outage else error)
        self._is_failing = error is not None
