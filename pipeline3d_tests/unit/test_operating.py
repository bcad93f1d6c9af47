"""The operators' commands, as far as they need no database."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from pipeline3d.cli import main
from pipeline3d.operating import parse_duration, wait_until_idle
from pipeline3d.queue_view import describe_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1.5h", 5400), ("2d", 172800), (" 1h ", 3600)]
)
def test_a_duration_is_a_number_and_a_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "-1h", "1w", "1h30m"])
def test_anything_else_is_no_duration(text):
    with pytest.raises(click.BadParameter, match="90s, 15m, 2h or 1d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.4, "0 s"), (59, "59 s"), (61, "1 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_a_length_of_time_is_told_in_one_unit(seconds, words):
    assert describe_seconds(seconds) == words


class Draining:
    """Stands for the operations: what still runs, look after look."""

    def __init__(self, *looks):
        self.looks = list(looks)

    def list_runs_of(self, name):
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def test_a_drain_is_waited_for_until_nothing_runs_and_told_once_for_each_change():
    told, pauses = [], []
    idle = wait_until_idle(
        Draining(["a", "b"], ["a", "b"], ["a"], []),
        "w1",
        timeout_s=None,
        tell=told.append,
        sleep=pauses.append,
    )
    assert idle
    assert told == ["2 still running", "1 still running", "nothing runs there"]
    assert len(pauses) == 3


def test_a_drain_is_given_up_after_its_time():
    moments = iter([0.0, 1.0, 5.0])
    idle = wait_until_idle(
        Draining(["a"]),
        "w1",
        timeout_s=5.0,
        tell=lambda line: None,
        sleep=lambda seconds: None,
        clock=lambda: next(moments),
    )
    assert not idle


@pytest.mark.parametrize(
    "arguments", [[], ["--failed", "0197a000-0000-7000-8000-000000000001"]], ids=["neither", "both"]
)
def test_requeue_wants_jobs_or_the_failed_ones_and_not_both(arguments):
    result = CliRunner().invoke(main, ["requeue", *arguments])
    assert result.exit_code == 2
    assert "Name jobs, or say --failed" in result.output
