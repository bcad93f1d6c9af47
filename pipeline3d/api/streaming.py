"""Server-sent events: a caller's jobs as they change, from where a reader stopped.

A stream is what Postgres has after the reader's last id, and then what the hub tells. It ends when the client
goes, when the job has ended, when its key is revoked, when the reader is too slow and when the service stops;
after each of them the last id that was read is where the next stream begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import Response
from sqlalchemy import Row
from starlette.types import Receive, Scope, Send

from pipeline3d.api.event_forms import (
    KEEP_ALIVE,
    RETRY,
    StreamedEvent,
    build_event,
    build_opening,
    build_removal,
    build_snapshot,
)
from pipeline3d.api.event_hub import Subscription
from pipeline3d.api.open_streams import OpenStream
from pipeline3d.api.services import Services
from pipeline3d.api.viewing import read_own_job
from pipeline3d.database.engines import POOL_TIMEOUTS
from pipeline3d.errors import TransientFailure
from pipeline3d.requests import event_log, reading
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.event_types import JobEventType
from pipeline3d.requests.states import is_finished
from pipeline3d.values import JobState

logger = logging.getLogger("pipeline3d.api")

BACKLOG_PAGE = 500

SEND_TIMEOUT_S = 60.0
"""A reader that takes nothing for so long, with its buffers full, is gone."""

LARGEST_ID = 2**63 - 1

LOOK_EVERY = 4
"""After so many quiet heartbeats a stream of one job looks whether the job is still there."""

STREAM_HEADERS = {
    "Cache-Control": "no-store",
    # Proxies that gather answers before they pass them on are told not to.
    "X-Accel-Buffering": "no",
}


class EventStream(Response):
    """An answer that goes on. What it was opened with is closed at its end, however it ends."""

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncGenerator[bytes, None], opened: AsyncExitStack, end: Callable[[], None]
    ) -> None:
        super().__init__(headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._frames = frames
        self._opened = opened
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what comes until it ends or the client goes."""
        leaving = asyncio.create_task(_wait_until_gone(receive))
        leaving.add_done_callback(lambda _: self._end())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(self._frames) as frames:
                async for frame in frames:
                    if leaving.done():
                        return
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await send({"type": "http.response.body", "body": frame, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (TransientFailure, *POOL_TIMEOUTS) as error:
            # An end like any other: the reader comes back and resumes.
            logger.warning("An event stream ended early: %s", error)
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            await self._opened.aclose()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class EventChoice:
    """Which events of the caller's jobs: all, unless it says otherwise."""

    job_ids: frozenset[UUID] | None = None
    types: frozenset[JobEventType] | None = None


@dataclass(kw_only=True)
class _Watch:
    """What one stream shows."""

    services: Services
    stream: OpenStream
    subscription: Subscription
    choice: EventChoice
    after: int | None
    """The reader's last id; None is one that begins."""
    job: Row[Any] | None = None
    """The only job that is watched; the stream ends with it."""
    _has_ended: bool = False

    async def frames(self, opening: bytes) -> AsyncGenerator[bytes, None]:
        """The stream's bytes. Raises what Postgres raises: the answer ends and the reader resumes."""
        yield RETRY + opening
        if self.after is not None:
            async for event in self._read_backlog(self.after):
                yield event.frame
        # An end that was told so far counts only where the job still had that end when the stream began: one
        # that was tried again since goes on.
        if self._had_ended:
            return
        async for frame in self._follow():
            yield frame

    @property
    def _had_ended(self) -> bool:
        """Whether the only job had ended when the stream began."""
        return self.job is not None and is_finished(JobState(self.job.state))

    async def _follow(self) -> AsyncGenerator[bytes, None]:
        """What the hub tells, and a sign of life where it is quiet."""
        heartbeat_s = self.services.settings.events_heartbeat_s
        quiet = 0
        while True:
            events = await self.subscription.next(heartbeat_s)
            if self.stream.is_revoked:
                return
            if events:
                quiet = 0
                yield self._join(events)
                if self._has_ended:
                    return
            elif self.subscription.is_over:
                return
            else:
                yield KEEP_ALIVE
                quiet += 1
                if self.job is not None and quiet % LOOK_EVERY == 0 and await self._was_removed(self.job.id):
                    yield build_removal(self.job)
                    return

    def _join(self, events: list[StreamedEvent]) -> bytes:
        """One piece, which is the event's own bytes where it is one event."""
        self._note_end(events)
        return events[0].frame if len(events) == 1 else b"".join(event.frame for event in events)

    def _note_end(self, events: Iterable[StreamedEvent]) -> None:
        """A job that ended may be tried again; what it stored may be told after its end."""
        if self.job is None:
            return
        for event in events:
            self._has_ended = event.is_end or (self._has_ended and not event.is_beginning)

    async def _read_backlog(self, after: int) -> AsyncGenerator[StreamedEvent, None]:
        """What was told between the reader's last id and the beginning of the subscription, in pages.

        A job that had ended by then is not listened to: all of its history is there.
        """
        until = LARGEST_ID if self._had_ended else self.subscription.since
        while True:
            lines = await self._read(after, until)
            for line in lines:
                yield build_event(line)
            if len(lines) < BACKLOG_PAGE:
                break
            after = lines[-1].id
        if self.subscription.told_before and not self._had_ended:
            for line in await self._read(until, max(self.subscription.told_before)):
                if line.id in self.subscription.told_before:
                    yield build_event(line, is_settled=False)

    async def _read(self, after: int, until: int) -> list[Row[Any]]:
        return await read_own_lines(
            self.services,
            self.stream.account,
            after=after,
            until=until,
            limit=BACKLOG_PAGE,
            choice=self.choice,
        )

    async def _was_removed(self, job_id: UUID) -> bool:
        """Whether the job is gone with its history, so that nothing tells of it."""
        try:
            return await self.services.first(reading.read_visible_job(), the_job=job_id) is None
        except (TransientFailure, *POOL_TIMEOUTS):
            return False  # asked again later: a browser that is cut off now may not get in again


async def read_own_lines(
    services: Services,
    account: Account,
    *,
    after: int,
    limit: int,
    choice: EventChoice,
    until: int | None = None,
) -> list[Row[Any]]:
    """Lines of the history of the caller's jobs after an id, oldest first."""
    values: dict[str, Any] = {"the_user": account.id, "after": after, "limit": limit}
    if choice.job_ids is not None:
        values["the_jobs"] = list(choice.job_ids)
    if until is not None:
        values["until"] = until
    statement = event_log.list_own_events(
        types=choice.types, of_jobs=choice.job_ids is not None, until=until is not None
    )
    return await services.all(statement, **values)


async def list_settled_lines(
    services: Services, account: Account, *, after: int, limit: int, choice: EventChoice
) -> list[Row[Any]]:
    """The same for those who ask again and again: only what nothing can come before any more."""
    async with services.events.subscribe(user_id=account.id) as subscription:
        until = subscription.since
    return await read_own_lines(services, account, after=after, limit=limit, choice=choice, until=until)


async def stream_own_events(
    services: Services, account: Account, *, after: int | None, choice: EventChoice
) -> EventStream:
    """A stream of all the caller's jobs, or of some, that goes on until somebody ends it."""
    async with AsyncExitStack() as opening:
        stream = opening.enter_context(services.streams.admit(account))
        subscription = await opening.enter_async_context(
            services.events.subscribe(user_id=account.id, job_ids=choice.job_ids, types=choice.types)
        )
        watch = _Watch(
            services=services, stream=stream, subscription=subscription, choice=choice, after=after
        )
        first = b"" if after is not None else build_opening(subscription.since)
        return EventStream(watch.frames(first), opening.pop_all(), subscription.end)


async def stream_job(services: Services, account: Account, job_id: UUID, *, after: int | None) -> Response:
    """A stream of one job that ends with it; 204 where it has ended and the reader has read that.

    A browser comes back after every end of a stream, unless it is answered so.
    """
    await read_own_job(services, account, job_id)
    choice = EventChoice(job_ids=frozenset({job_id}))
    async with AsyncExitStack() as opening:
        stream = opening.enter_context(services.streams.admit(account))
        subscription = await opening.enter_async_context(
            services.events.subscribe(user_id=account.id, job_ids=choice.job_ids)
        )
        # Read after the watching began: what comes later is told.
        row = await read_own_job(services, account, job_id)
        if after is not None and is_finished(JobState(row.state)):
            more = await read_own_lines(services, account, after=after, limit=1, choice=choice)
            if not more:
                return Response(status_code=204, headers=STREAM_HEADERS)
        watch = _Watch(
            services=services, stream=stream, subscription=subscription, choice=choice, after=after, job=row
        )
        first = b"" if after is not None else build_snapshot(row, subscription.since)
        return EventStream(watch.frames(first), opening.pop_all(), subscription.end)
