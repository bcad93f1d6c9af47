"""Texels of triangles, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry.texels import find_nearest, find_texels

SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
SQUARE_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def test_a_square_covers_every_texel_once() -> None:
    texels = find_texels(SQUARE, SQUARE_FACES, 16)
    assert np.array_equal(texels.index, np.arange(256))
    assert texels.overlap == 0
    places = np.einsum("kc,kcd->kd", texels.weights, SQUARE[SQUARE_FACES[texels.face]])
    assert places[:, 0] == pytest.approx((texels.index % 16 + 0.5) / 16)
    assert places[:, 1] == pytest.approx((texels.index // 16 + 0.5) / 16)


def test_faces_on_top_of_each_other_are_told() -> None:
    texels = find_texels(SQUARE, np.concatenate([SQUARE_FACES, SQUARE_FACES]), 16)
    assert texels.overlap > 0.8
    assert len(texels.index) == 256


def test_a_face_between_texel_centres_still_gets_a_texel() -> None:
    tiny = np.array([[0.51, 0.51], [0.515, 0.51], [0.51, 0.515]], np.float32)
    texels = find_texels(tiny, np.array([[0, 1, 2]]), 8)
    assert texels.index.tolist() == [4 * 8 + 4]


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6))
def test_texels_are_those_whose_centres_are_inside(values: list[float]) -> None:
    uvs = np.array(values, np.float32).reshape(3, 2)
    side = 12
    texels = find_texels(uvs, np.array([[0, 1, 2]]), side)
    a, b, c = uvs.astype(np.float64) * side
    rows, columns = np.divmod(np.arange(side * side), side)
    centres = np.stack([columns + 0.5, rows + 0.5], axis=1)

    def turn(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        along, away = other - one, centres - one
        return along[0] * away[:, 1] - along[1] * away[:, 0]

    turns = np.stack([turn(a, b), turn(b, c), turn(c, a)])
    clear = np.abs(turns).min(axis=0) > 1e-3
    inside = ((turns > 0).all(axis=0) | (turns < 0).all(axis=0)) & clear
    found = np.zeros(side * side, bool)
    found[texels.index] = True
    if inside.any():
        assert np.array_equal(found[clear], inside[clear])
    else:
        assert found[clear].sum() <= 1


def test_gutters_show_the_nearest_covered_texel() -> None:
    nearest = find_nearest(np.array([0, 15, 255]), 16).reshape(16, 16)
    assert nearest[0, 0] == nearest[5, 1] == 0
    assert nearest[0, 15] == nearest[3, 14] == 1
    assert nearest[15, 15] == nearest[12, 9] == 2
