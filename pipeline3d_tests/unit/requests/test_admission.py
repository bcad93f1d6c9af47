"""How much may be on its way to the workers."""

from __future__ import annotations

import pytest

from pipeline3d.requests.admission import Admission


@pytest.mark.parametrize(
    ("per_slot", "least", "slots", "depth"),
    [
        (2.0, 2, 0, 0),  # nobody serves the queue: everything waits in the table
        (2.0, 2, 1, 2),
        (2.0, 4, 1, 4),  # at least so many
        (1.5, 1, 3, 5),  # rounded up
        (0.0, 0, 8, 0),
    ],
)
def test_the_depth_follows_the_slots(per_slot, least, slots, depth):
    assert Admission(dispatched_per_slot=per_slot, least_depth=least).depth(slots) == depth
