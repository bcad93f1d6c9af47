"""Complaints are bounded, and readers of hostile JSON never trip over a type."""

from __future__ import annotations

import pytest

from pipeline3d.geometry.complaints import MOST_COMPLAINTS, Complaints, object_of, objects_of, whole


def test_more_complaints_than_anybody_reads_are_counted_only():
    complaints = Complaints()
    for number in range(MOST_COMPLAINTS + 5):
        complaints.warning("ODD", f"/{number}", "is odd")
    assert len(complaints.all()) == MOST_COMPLAINTS + 1
    assert "5 further" in complaints.all()[-1].message


@pytest.mark.parametrize(
    ("holder", "found", "complained"),
    [
        ({}, [], 0),
        ({"nodes": [{"mesh": 0}]}, [{"mesh": 0}], 0),
        ({"nodes": [{"mesh": 0}, 3]}, [{"mesh": 0}, {}], 1),  # places keep their numbers
        ({"nodes": "many"}, [], 1),
        (None, [], 0),
    ],
)
def test_a_list_of_objects_is_read_from_whatever_there_is(holder, found, complained):
    complaints = Complaints()
    assert objects_of(holder, "nodes", "", complaints) == found
    assert len(complaints.all()) == complained


@pytest.mark.parametrize(
    ("value", "number"), [(0, 0), (7, 7), (-1, None), (True, None), (1.0, None), ("1", None), (None, None)]
)
def test_a_count_is_a_whole_number_and_nothing_else(value, number):
    assert whole(value) == number


def test_an_object_that_is_something_else_is_empty():
    assert object_of({"asset": [1]}, "asset") == {}
