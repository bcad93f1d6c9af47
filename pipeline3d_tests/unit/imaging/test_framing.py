"""Frames hold the object in the middle at the ratio that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import BrokenArtifact, UnusableInput
from pipeline3d.imaging.framing import decode_rgba_png, encode_png, frame_object
from pipeline3d.imaging.matting import Matte
from pipeline3d.imaging.picture import Picture


def picture_of_a_box(width: int, height: int, top: int, left: int, rows: int, columns: int):
    alpha = np.zeros((height, width), np.uint8)
    alpha[top : top + rows, left : left + columns] = 255
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[alpha > 0] = (200, 40, 10)
    picture = Picture(rgb=rgb, alpha=None, source_format="PNG", source_width=width, source_height=height)
    return picture, Matte(alpha=alpha, method="alpha", coverage=0.1, confidence=1.0)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(8, 180),
    st.integers(8, 180),
    st.integers(0, 100),
    st.integers(0, 100),
    st.sampled_from([96, 256, 512]),
)
def test_the_longer_side_takes_its_share_of_the_frame(rows, columns, top, left, size):
    picture, matte = picture_of_a_box(300, 300, top, left, rows, columns)
    frame = frame_object(picture, matte, foreground_ratio=0.8, size=size)
    inside = frame[..., 3] >= 128
    ys, xs = np.nonzero(inside)
    assert frame.shape == (size, size, 4)
    enlarged = 0.8 * size / max(rows, columns)  # an edge between two pixels has no exact place
    assert max(np.ptp(ys) + 1, np.ptp(xs) + 1) == pytest.approx(0.8 * size, abs=2.1 + 0.15 * enlarged)
    assert (ys.min() + ys.max()) / 2 == pytest.approx((size - 1) / 2, abs=1.1)
    assert (xs.min() + xs.max()) / 2 == pytest.approx((size - 1) / 2, abs=1.1)


def test_colours_stay_under_the_alpha():
    picture, matte = picture_of_a_box(200, 100, 20, 50, 60, 60)
    frame = frame_object(picture, matte, size=128)
    assert tuple(frame[64, 64]) == (200, 40, 10, 255)
    assert frame[0, 0, 3] == 0


def test_nothing_visible_is_refused():
    picture, matte = picture_of_a_box(64, 64, 0, 0, 0, 0)
    with pytest.raises(UnusableInput) as refusal:
        frame_object(picture, matte)
    assert refusal.value.code == "no_clear_object"


@pytest.mark.parametrize(("ratio", "size"), [(0.0, 64), (1.5, 64), (0.8, 0)])
def test_ratios_and_sizes_out_of_range_are_refused(ratio, size):
    picture, matte = picture_of_a_box(64, 64, 8, 8, 40, 40)
    with pytest.raises(ValueError, match="out of range"):
        frame_object(picture, matte, foreground_ratio=ratio, size=size)


@pytest.mark.parametrize("channels", [3, 4])
def test_png_keeps_every_byte(channels):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, channels), np.uint8)
    data = encode_png(pixels)
    assert data == encode_png(pixels)
    if channels == 4:
        assert np.array_equal(decode_rgba_png(data), pixels)
    else:
        with pytest.raises(BrokenArtifact):
            decode_rgba_png(data)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 200), st.floats(0, 1), st.integers(0, 255))
def test_a_damaged_frame_is_a_broken_artifact(cut, place, value):
    data = bytearray(encode_png(np.full((16, 16, 4), 9, np.uint8)))
    data[int(place * (len(data) - 1))] = value
    try:
        pixels = decode_rgba_png(bytes(data[: max(0, len(data) - cut)]))
    except BrokenArtifact:
        return
    assert pixels.shape[2] == 4
