"""What happens to jobs, handed on as it commits: one listening connection for all who watch.

Each process of the API listens by itself, so it does not matter which replica changed a job or which one a
caller watches. The history is read once for all watchers after a wake-up, and wake-ups that come together
count as one. Nobody watches: nothing is connected and nothing is read. When Postgres goes away the hub tries
again, and then catches up from where it stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pipeline3d.api.event_forms import StreamedEvent, build_event
from pipeline3d.api.event_order import EventOrder
from pipeline3d.database.notifications import AsyncListener, listening_async
from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.requests import event_log
from pipeline3d.requests.event_types import END_TYPES, JobEventType
from pipeline3d.requests.history import CHANGES_CHANNEL

logger = logging.getLogger("pipeline3d.api")

PAGE = 500
"""Lines that are read at once."""

LOOK_BACK = 1000
"""Ids before the newest among which a transaction that is still open may have one."""

PACE_S = 0.04
"""At least so long from one reading to the next: a burst of changes is read at once."""

GAP_PAUSE_S = 0.01
"""Between two looks at a gap, which closes with a commit."""

HELD_UP_PAUSE_S = 0.25
"""The same once lines are told although a gap before them is open."""

LOOK_ANYWAY_S = 5.0
"""Without a message the history is read so often: a message lost on the way costs no more than that."""

LINGER_S = 20.0
"""The connection is kept for so long after the last watcher left."""

START_TIMEOUT_S = 5.0
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
OUTAGES = (DatabaseUnavailable, psycopg.Error, OSError)
"""Failures that say themselves what is wrong."""

MAX_WAITING = 512
"""Events that wait for a slow reader before it is dropped: about 200 KiB."""


class Subscription:
    """Events for one watcher, who reads them with `next`. Holds at most `MAX_WAITING` of them."""

    def __init__(
        self,
        *,
        since: int,
        user_id: UUID | None,
        job_ids: frozenset[UUID] | None,
        types: frozenset[JobEventType] | None,
        told_before: frozenset[int],
        max_waiting: int,
    ) -> None:
        self.since = since
        """What is told here comes after this id; what came before is for the watcher to read."""
        self.user_id = user_id
        self.job_ids = job_ids
        self.types = types
        self.told_before = told_before
        """What was told already although something before it may yet come: for the watcher to read, too."""
        self.is_over = False
        """No more events will come: the reader was too slow, or the service stops."""
        self._waiting: deque[StreamedEvent] = deque()
        self._max_waiting = max_waiting
        self._waiter: asyncio.Future[None] | None = None

    @property
    def keys(self) -> Iterator[Hashable]:
        """Under what the hub finds it."""
        if self.job_ids is not None:
            yield from self.job_ids
        else:
            yield self.user_id

    def wants(self, event: StreamedEvent, user_id: UUID) -> bool:
        """Whether an event that was found under one of its keys is one for it."""
        is_theirs = self.user_id in (None, user_id)
        return (
            is_theirs
            and (self.types is None or event.type in self.types)
            and event.id not in self.told_before
        )

    def offer(self, event: StreamedEvent) -> None:
        """Hand over an event without waiting; a reader that does not keep up gets no more."""
        if self.is_over:
            return
        if len(self._waiting) >= self._max_waiting:
            # It resumes from Postgres where it stopped reading, which is cheaper than keeping all of it here.
            self._waiting.clear()
            self.end()
            return
        self._waiting.append(event)
        self._wake()

    def end(self) -> None:
        """No more events; those that wait are still given out."""
        self.is_over = True
        self._wake()

    def take(self) -> list[StreamedEvent]:
        """All that wait, without waiting."""
        events = list(self._waiting)
        self._waiting.clear()
        return events

    async def next(self, timeout_s: float) -> list[StreamedEvent]:
        """All that wait, or, when the time is up or the subscription is over, none."""
        if not self._waiting and not self.is_over and timeout_s > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self.take()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EventHub:
    """Knows who watches which jobs, and tells them what commits. Belongs to one event loop."""

    def __init__(self, engine: AsyncEngine, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._watchers: dict[Hashable, set[Subscription]] = defaultdict(set)
        self._count = 0
        self._order: EventOrder[Row[Any]] | None = None
        self._is_ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_failing = False

    @property
    def watcher_count(self) -> int:
        """How many subscriptions are open."""
        return self._count

    @property
    def position(self) -> int:
        """Everything up to this id was told to those whom it concerns, or is not for them to hear."""
        return 0 if self._order is None else self._order.settled

    @asynccontextmanager
    async def subscribe(
        self,
        *,
        user_id: UUID | None = None,
        job_ids: frozenset[UUID] | None = None,
        types: frozenset[JobEventType] | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> AsyncIterator[Subscription]:
        """Events that commit from now on: of these jobs, or of all jobs of this user.

        With both, of these jobs where they are this user's. Raises DatabaseUnavailable when Postgres does not
        answer now; one that goes away later is waited for.
        """
        subscription = await self._begin(user_id, job_ids, types, max_waiting)
        try:
            yield subscription
        finally:
            self._forget(subscription)

    async def wait_for_end(
        self, job_id: UUID, timeout_s: float, has_ended: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Wait until a job comes to its end, for at most so many seconds; whether it did.

        `has_ended` looks at the job itself. It is asked once, after the watching began: an end that commits
        between the two is not missed.
        """
        until = self._clock() + timeout_s
        async with self.subscribe(job_ids=frozenset({job_id}), types=END_TYPES) as subscription:
            if await has_ended():
                return True
            while not subscription.is_over and (rest_s := until - self._clock()) > 0:
                if await subscription.next(rest_s):
                    return True
            return False

    def end_streams(self) -> None:
        """Let every watcher go, now and from now on: the service is about to stop."""
        self._is_closed = True
        for subscription in {one for many in self._watchers.values() for one in many}:
            subscription.end()
        self._is_ready.set()

    async def close(self) -> None:
        """Let every watcher go and close the connection."""
        self.end_streams()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._engine.dispose()

    async def _begin(
        self,
        user_id: UUID | None,
        job_ids: frozenset[UUID] | None,
        types: frozenset[JobEventType] | None,
        max_waiting: int,
    ) -> Subscription:
        self._count += 1  # from here on the connection stays
        try:
            if not self._is_closed and (self._task is None or self._task.done()):
                self._task = asyncio.create_task(self._run())
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._is_ready.wait()
        except TimeoutError:
            self._count -= 1
            raise DatabaseUnavailable("The history of jobs cannot be followed now.") from None
        except BaseException:
            self._count -= 1
            raise
        # No await from here to the end: nothing is told in between.
        subscription = Subscription(
            since=self.position,
            user_id=user_id,
            job_ids=job_ids,
            types=types,
            told_before=self._order.told_unsettled if self._order is not None else frozenset(),
            max_waiting=max_waiting,
        )
        if self._is_closed:
            subscription.end()
        for key in subscription.keys:
            self._watchers[key].add(subscription)
        return subscription

    def _forget(self, subscription: Subscription) -> None:
        self._count -= 1
        for key in subscription.keys:
            watchers = self._watchers[key]
            watchers.discard(subscription)
            if not watchers:
                del self._watchers[key]

    async def _run(self) -> None:
        """Follow the history while somebody watches; come back after every failure."""
        failures = 0
        try:
            while not self._is_closed:
                try:
                    async with listening_async(self._engine, CHANGES_CHANNEL) as listener:
                        await self._follow(listener)
                    if not self._count:
                        return  # and if somebody came while the connection closed, once more
                except Exception as error:  # whatever it is: those who watch would wait for ever
                    failures = failures + 1 if self._is_failing else 1
                    self._note_failures(failures, error)
                    await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1])
        finally:
            self._lose_track()

    def _lose_track(self) -> None:
        """Whoever comes next waits for a new beginning."""
        self._is_ready.clear()
        self._order = None

    def _note_failures(self, failures: int, error: Exception | None = None) -> None:
        if failures == 1:
            is_outage = isinstance(error, OUTAGES)
            logger.warning(
                "The history of jobs cannot be followed now: %s", error, exc_info=None if is_outage else error
            )
        elif not failures and self._is_failing:
            logger.warning("The history of jobs is followed again.")
        self._is_failing = failures > 0

    async def _follow(self, listener: AsyncListener) -> None:
        """Read and tell until nobody has watched for a while."""
        watched_at = self._clock()
        while self._count or self._clock() - watched_at < LINGER_S:
            if self._count:
                watched_at = self._clock()
            read_at = self._clock()
            await self._catch_up(listener.connection)
            is_held_up = self._order is not None and self._order.is_held_up
            await listener.wait(HELD_UP_PAUSE_S if is_held_up else LOOK_ANYWAY_S)
            await asyncio.sleep(max(0.0, read_at + PACE_S - self._clock()))
        self._lose_track()

    async def _catch_up(self, connection: AsyncConnection) -> None:
        """Read what is new and tell it, as far as it may be told."""
        if self._order is None:
            newest = (await connection.execute(event_log.read_last_event_id())).one().id
            self._order = EventOrder(max(0, newest - LOOK_BACK))
        order = self._order
        while True:
            values = {"after": order.settled, "seen": order.seen, "limit": PAGE}
            lines = list((await connection.execute(event_log.list_unread(), values)).all())
            is_whole = len(lines) < PAGE
            given_up = order.gaps_given_up
            for told in order.take(lines, self._clock(), is_whole=is_whole):
                self._tell(told.line, is_settled=told.is_settled)
            self._note_failures(0)
            if is_whole and (order.is_held_up or not order.in_doubt):
                self._is_ready.set()
            if order.gaps_given_up > given_up:
                logger.warning(
                    "A transaction kept back lines of history for too long: up to %d", order.settled
                )
            if order.in_doubt:
                order.note_writers(row.writer for row in await connection.execute(event_log.list_writers()))
                if order.is_held_up and is_whole:
                    return
                if order.waits_for_writers:
                    await asyncio.sleep(GAP_PAUSE_S)
            elif is_whole:
                return

    def _tell(self, line: Row[Any], *, is_settled: bool) -> None:
        """Hand a line to those whom it concerns. It is put into bytes once, and only if there are any."""
        event: StreamedEvent | None = None
        for key in (line.job_id, line.user_id):
            for subscription in tuple(self._watchers.get(key, ())):
                if event is None:
                    event = build_event(line, is_settled=is_settled)
                if subscription.wants(event, line.user_id):
                    subscription.offer(event)
