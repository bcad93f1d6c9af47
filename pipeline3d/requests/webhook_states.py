"""How far a delivery got."""

from __future__ import annotations

from enum import StrEnum


class DeliveryState(StrEnum):
    """The state of a delivery; only one that waits is worked on."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    """Every attempt failed, or its endpoint is off: its owner may have it sent again."""
    DROPPED = "DROPPED"
    """What it told is of no use any more."""
