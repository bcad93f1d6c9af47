"""What a line of a request's history is called by those outside who watch: one small set of names.

The names are a contract: server-sent events and webhooks carry them, and filters name them. A line whose
event this table does not know is a `job.changed`, so that a new line of history never breaks a watcher.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pipeline3d.values import JobState


class JobEventType(StrEnum):
    """What happened to a job."""

    CREATED = "job.created"
    DISPATCHED = "job.dispatched"
    STARTED = "job.started"
    PROGRESS = "job.progress"
    ARTIFACT = "job.artifact"
    RETRYING = "job.retrying"
    HELD = "job.held"
    RELEASED = "job.released"
    CANCELING = "job.canceling"
    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"
    EXPIRED = "job.expired"
    DELETED = "job.deleted"
    CHANGED = "job.changed"


TYPE_BY_EVENT: dict[tuple[str, JobState | None], JobEventType] = {
    ("created", None): JobEventType.CREATED,
    ("dispatched", None): JobEventType.DISPATCHED,
    ("started", None): JobEventType.STARTED,
    ("progress", None): JobEventType.PROGRESS,
    ("artifact", None): JobEventType.ARTIFACT,
    ("attempt_failed", JobState.QUEUED): JobEventType.RETRYING,
    ("attempt_failed", JobState.FAILED): JobEventType.FAILED,
    ("attempt_failed", JobState.CANCELED): JobEventType.CANCELED,
    ("retried_by_hand", None): JobEventType.RETRYING,
    ("held", None): JobEventType.HELD,
    ("released", None): JobEventType.RELEASED,
    ("cancel_requested", JobState.CANCELING): JobEventType.CANCELING,
    ("cancel_requested", JobState.CANCELED): JobEventType.CANCELED,
    ("succeeded", None): JobEventType.SUCCEEDED,
    ("canceled", None): JobEventType.CANCELED,
    ("expired", None): JobEventType.EXPIRED,
    ("deleted", None): JobEventType.DELETED,
}
"""By the line's event, and by the state after it where that decides; None is any state."""

END_TYPES = frozenset(
    {
        JobEventType.SUCCEEDED,
        JobEventType.FAILED,
        JobEventType.CANCELED,
        JobEventType.EXPIRED,
        JobEventType.DELETED,
    }
)
"""Those after which nothing more happens by itself."""

BEGINNING_TYPES = frozenset({JobEventType.RETRYING, JobEventType.DISPATCHED, JobEventType.STARTED})
"""Those after which a job that had ended goes on."""


def event_type_of(payload: Mapping[str, Any]) -> JobEventType:
    """The name of a line of history, from its payload's `event` and `state`."""
    event, state = payload.get("event"), payload.get("state")
    if not isinstance(event, str):
        return JobEventType.CHANGED
    of_state = TYPE_BY_EVENT.get((event, state))
    return of_state or TYPE_BY_EVENT.get((event, None), JobEventType.CHANGED)
