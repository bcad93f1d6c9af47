"""Why Dagster holds a run back, in words."""

import pytest

from pipeline3d.launch.run_queue_view import explain_pools


@pytest.mark.parametrize(
    ("needed", "slots", "taken", "reason"),
    [
        ([], {"gpu": 1}, {"gpu": 1}, None),  # a run that needs none
        (["gpu"], {}, {"gpu": 9}, None),  # nobody limits the pool
        (["gpu"], {"gpu": 2}, {"gpu": 1}, None),
        (["gpu"], {"gpu": 2}, {"gpu": 2}, "pool gpu is full: 2 of 2"),
        (["gpu"], {"gpu": 0}, {}, "pool gpu is full: 0 of 0"),  # closed
        (["b", "a"], {"a": 1, "b": 1}, {"a": 1, "b": 1}, "pool a is full: 1 of 1"),
        (["b", "a"], {"a": 1, "b": 1}, {"b": 3}, "pool b is full: 3 of 1"),
    ],
)
def test_the_pool_that_is_full_is_named(needed, slots, taken, reason):
    assert explain_pools(needed, slots, taken) == reason
