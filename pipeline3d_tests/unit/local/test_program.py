import json

import pytest

from pipeline3d.local.program import HEALTHY_AFTER_S, count_failures, load_begun, plan_pause, save_begun


@pytest.mark.parametrize(
    ("failures", "pause_s"),
    [
        (0, 0.0),  # the first start, or one after a healthy life
        (1, 0.5),
        (2, 1.0),
        (5, 8.0),
        (6, 15.0),  # the longest pause
        (5000, 15.0),  # it never gives up
    ],
)
def test_pauses_double_up_to_a_limit(failures, pause_s):
    assert plan_pause(failures) == pause_s


@pytest.mark.parametrize(
    ("previous", "now", "failures"),
    [
        (None, 100.0, 0),  # the first start
        ({"begun_at": 100.0, "failures": 0}, 101.0, 1),  # ended after a second
        ({"begun_at": 100.0, "failures": 3}, 101.0, 4),  # and again
        ({"begun_at": 100.0, "failures": 3}, 100.0 + HEALTHY_AFTER_S, 1),  # it was healthy: a new series
        ({"begun_at": 100.0, "failures": 3}, 50.0, 1),  # the clock was set back
    ],
)
def test_only_early_ends_in_a_row_are_counted(previous, now, failures):
    assert count_failures(previous, now=now) == failures


def test_a_start_is_recorded_as_a_whole(tmp_path):
    path = tmp_path / "x.begun.json"
    assert load_begun(path) is None
    save_begun(path, {"failures": 1})
    save_begun(path, {"failures": 2})
    assert load_begun(path) == json.loads(path.read_text()) == {"failures": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
