"""What makes two requests the same."""

from __future__ import annotations

from pipeline3d.requests.creation import hash_request, new_job_id


def test_the_order_of_fields_does_not_make_another_request():
    assert hash_request({"a": 1, "b": {"c": 2, "d": 3}}) == hash_request({"b": {"d": 3, "c": 2}, "a": 1})


def test_another_value_makes_another_request():
    assert hash_request({"a": 1}) != hash_request({"a": 2})


def test_ids_sort_by_the_time_of_their_making():
    made = [new_job_id() for _ in range(50)]
    assert made == sorted(made)
    assert {job_id.version for job_id in made} == {7}
