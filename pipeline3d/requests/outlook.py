"""When a request will start and end: its place in the queue, and what the history lets one expect.

The place follows the order of `turns`, counted up to a limit: who is far behind learns only that. The times
follow from the newest runs of each model, the slots of the live workers and what is ahead. Where one of these
is not known there is no time: none is ever made up. Pure functions of a request's row, as it was read just
now, and a snapshot of the queues, which may be a few seconds older. All times are by the clock of Postgres.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from pipeline3d.requests.queue_snapshot import MOST_COUNTED, Line, Model, Queue, QueueSnapshot
from pipeline3d.values import JobState

__all__ = ["MOST_COUNTED", "Outlook", "QueueView", "WaitingReason", "foresee"]

LONGEST_COMMIT = timedelta(seconds=1)
"""A row that was written so shortly before a snapshot may have been committed after it."""


class WaitingReason(StrEnum):
    """What a queued request waits for, other than its turn."""

    HELD = "held"
    INPUT_JOB = "input_job"
    QUEUE_PAUSED = "queue_paused"
    LIMIT = "limit"
    """As many of its user's requests as may be are in work."""
    RETRY_LATER = "retry_later"
    NO_WORKER = "no_worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one may expect of a request; None is what is not known."""

    position: int | None = None
    """1 is the next to start; `MOST_COUNTED` is that many or more. Only while it is queued."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    waits_because: WaitingReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """A snapshot, and what the clock of Postgres shows while it is looked at."""

    snapshot: QueueSnapshot
    now: datetime
    is_after_question: bool = False
    """Whether it was taken after the rows were read that are looked for in it."""


class UnfinishedRequest(Protocol):
    """What must be known of a request that is queued or running."""

    @property
    def id(self) -> UUID: ...
    @property
    def state(self) -> str: ...
    @property
    def model_id(self) -> str: ...
    @property
    def not_before(self) -> datetime | None: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def updated_at(self) -> datetime: ...
    @property
    def held(self) -> bool: ...
    @property
    def waits_for(self) -> UUID | None: ...
    @property
    def lease_until(self) -> datetime | None: ...


def foresee(job: UnfinishedRequest, view: QueueView) -> Outlook | None:
    """What one may expect of a queued or running request; None where a newer snapshot is needed to tell.

    The row decides what state the request is in: one that has begun or ended since the snapshot has no place
    any more, though it has one there.
    """
    snapshot, now = view.snapshot, view.now
    model = snapshot.models.get(job.model_id)
    if job.state not in (JobState.QUEUED, JobState.RUNNING):
        return Outlook()
    if model is not None and job.state == JobState.RUNNING:
        return Outlook(ends_at=foresee_end_of_run(job.started_at, model, now))
    if job.held or job.waits_for is not None:
        return Outlook(waits_because=WaitingReason.HELD if job.held else WaitingReason.INPUT_JOB)
    line = None if model is None else snapshot.queues[model.queue].lines.get(str(job.id))
    if model is None or line is None:
        return foresee_unseen(job, view)
    queue = snapshot.queues[model.queue]
    reason = name_reason(job, queue, now, held_back=line.held_back)
    wait_s = foresee_wait(queue, line)
    if wait_s is None:
        return Outlook(position=place_of(line), waits_because=reason)
    starts_at = max(snapshot.taken_at + timedelta(seconds=wait_s), now, job.not_before or now)
    ends_at = None if model.median_s is None else starts_at + timedelta(seconds=model.median_s)
    return Outlook(position=place_of(line), starts_at=starts_at, ends_at=ends_at, waits_because=reason)


def foresee_unseen(job: UnfinishedRequest, view: QueueView) -> Outlook | None:
    """What follows from it that a queued request is not among the first of its queue."""
    snapshot = view.snapshot
    model = snapshot.models.get(job.model_id)
    is_later = view.is_after_question or job.updated_at < snapshot.taken_at - LONGEST_COMMIT
    if is_later and model is not None and snapshot.queues[model.queue].is_full:
        reason = name_reason(job, snapshot.queues[model.queue], view.now)
        return Outlook(position=MOST_COUNTED, waits_because=reason)
    # In a snapshot that was taken after the row was read it would be: so it has begun or ended meanwhile.
    return Outlook() if view.is_after_question else None


def name_reason(
    job: UnfinishedRequest, queue: Queue, now: datetime, *, held_back: bool = False
) -> WaitingReason | None:
    """The first thing that keeps a queued request from its turn; None where nothing does."""
    is_on_its_way = job.lease_until is not None and job.lease_until > now
    if queue.paused and not is_on_its_way:
        return WaitingReason.QUEUE_PAUSED
    if held_back:
        return WaitingReason.LIMIT
    if job.not_before is not None and job.not_before > now:
        return WaitingReason.RETRY_LATER
    return WaitingReason.NO_WORKER if queue.slots is None else None


def place_of(line: Line) -> int:
    """A place as it is told."""
    return min(line.ahead + 1, MOST_COUNTED)


def foresee_wait(queue: Queue, line: Line) -> float | None:
    """Seconds from the snapshot until a slot is free for a queued request; None where that is not known.

    All that runs and is ahead is shared out evenly between the slots.
    """
    if queue.slots is None or queue.paused or line.held_back or place_of(line) >= MOST_COUNTED:
        return None
    if queue.running + line.ahead < queue.slots:
        return 0.0
    if queue.running_s is None or line.ahead_s is None:
        return None
    return (queue.running_s + line.ahead_s) / queue.slots


def foresee_end_of_run(started_at: datetime | None, model: Model, now: datetime) -> datetime | None:
    """By the median of the runs of its model that took longer than this one has by now; None without any."""
    if started_at is None:
        return None
    ran_s = (now - started_at).total_seconds()
    longer_s = [length_s for length_s in model.lengths_s if length_s > ran_s]
    return started_at + timedelta(seconds=statistics.median(longer_s)) if longer_s else None
