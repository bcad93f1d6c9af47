"""Which events a subscription may name, and what it hears where it names none.

The names of what happens to jobs are those of `event_types`. The trigger that queues messages knows the same
rules in SQL (migration 0007); a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.event_types import JobEventType

WEBHOOKS_CHANNEL = "pipeline3d_webhooks"
"""Notified whenever there is a message to deliver: wakes the courier."""

DEFAULT_EVENTS = (
    JobEventType.SUCCEEDED,
    JobEventType.FAILED,
    JobEventType.CANCELED,
    JobEventType.EXPIRED,
)
"""What a subscription without names hears: how a job ended."""

TEST_EVENT = "webhook.test"
"""Sent when the owner asks whether an address works; nothing subscribes to it."""

STANDARD_FORMAT = "standard"
"""The body of our own form; others are those of earlier systems."""

PASSING_EVENTS = frozenset({JobEventType.PROGRESS})
"""What is overtaken by the next message: it is given up soon, and then dropped rather than failed."""


def check_events(names: Iterable[str]) -> list[str]:
    """The names once each, in their usual order. Raises InvalidParameters (`unknown_event`)."""
    wanted = set(names)
    known = [event.value for event in JobEventType]
    if unknown := sorted(wanted - set(known)):
        raise InvalidParameters(
            f"There is no event {unknown[0]!r}.",
            code="unknown_event",
            hint=f"The events are {', '.join(known)}.",
        )
    return [name for name in known if name in wanted]
