"""Which preferences to wait are understood."""

from __future__ import annotations

import pytest

from pipeline3d.api.waiting import read_preference


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, None),
        ("", None),
        ("wait=5", 5),
        ("Wait = 5", 5),
        ('wait="5"', 5),
        ("respond-async, wait=5", 5),
        ("wait=5; foo", 5),
        ("wait=600", 60),
        ("wait=0", None),
        ("wait=-5", None),
        ("wait=soon", None),
        ("wait", None),
        ("await=5", None),
        ("wait=" + "9" * 5000, None),
        ("respond-async", None),
    ],
)
def test_it_is_read_as_the_standard_has_it_within_our_limits(prefer, seconds):
    assert read_preference(prefer) == seconds
