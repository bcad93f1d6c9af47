"""Lights and backgrounds are values, and nonsense is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.staging import LIGHTS, PLAIN, TRANSPARENT, Background, Light


@pytest.mark.parametrize(
    "values",
    [
        {"key": -1},
        {"ambient": math.nan},
        {"shadow": 1.5},
        {"key_direction": (0, 0, 0)},
        {"fill_direction": (0, 1)},
        {"fill_direction": (0, 1, math.inf)},
        {"key_wrap": "soft"},
    ],
)
def test_a_light_without_meaning_is_refused(values):
    with pytest.raises(InvalidParameters):
        Light(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"upper": (256, 0, 0)},
        {"upper": (1.5, 0, 0)},
        {"upper": "white"},
        {"upper": (0, 0)},
        {"upper": None, "lower": (0, 0, 0)},
        {"upper": (True, 0, 0)},
    ],
)
def test_a_background_that_is_no_colour_is_refused(values):
    with pytest.raises(InvalidParameters):
        Background(**values)


def test_a_gradient_runs_from_the_upper_to_the_lower_colour():
    rows = Background(upper=(255, 255, 255), lower=(0, 0, 0)).linear(9)[:, 0]
    assert rows[0] == pytest.approx([1, 1, 1])
    assert rows[-1] == pytest.approx([0, 0, 0])
    assert (np.diff(rows[:, 0]) < 0).all()


def test_equal_values_are_equal():
    assert Background() == PLAIN
    assert LIGHTS["studio"] == Light()
    assert TRANSPARENT.transparent
