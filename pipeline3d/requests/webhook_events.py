"""Which events a subscription may name, and what it hears where it names none.

The names of what happens to jobs are those of `event_types`. The trigger that queues messages knows the same
rules in SQL (migration 0007); a test holds the two together.
"""

from __future__ import annotations

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
