"""Colours survive the way to light and back, and what is too bright stays a colour."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry.colour_space import SHOULDER, compress_highlights, to_linear, to_srgb


def test_every_level_comes_back_from_linear_light():
    levels = np.arange(256) / 255
    assert np.array_equal(np.round(to_srgb(to_linear(levels)) * 255), np.arange(256))


def test_colours_below_the_shoulder_do_not_change():
    light = np.linspace(0, SHOULDER, 30, dtype=np.float32).reshape(-1, 3)
    assert np.array_equal(compress_highlights(light), light)


@given(st.lists(st.floats(0, 1e4, width=32), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_light_fits_into_a_picture_and_keeps_its_order(light):
    before = np.array([light], np.float32)
    after = compress_highlights(before)
    assert after.max() <= 1.0001
    assert after.min() >= 0
    order = np.argsort(before[0], kind="stable")
    assert (np.diff(after[0][order]) >= -1e-4).all()
