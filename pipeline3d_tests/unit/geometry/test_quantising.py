"""Fewer bits: nothing moves further than what is stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.quantising import Precision, grid_of, quantise_uvs

COORDINATES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.just(3)),
    elements=st.floats(-1000, 1000, width=32, allow_subnormal=False),
)


def model_of(*vertices: np.ndarray) -> Model:
    faces = np.zeros((1, 3), np.int32)
    return Model(parts=tuple(TexturedMesh(vertices=points, faces=faces) for points in vertices))


@given(points=COORDINATES, bits=st.sampled_from([8, 14, 16]))
@settings(max_examples=50, deadline=None)
def test_positions_move_no_further_than_the_grid_says(points, bits):
    grid = grid_of(model_of(points), bits)
    numbers = grid.quantise(points)
    assert numbers.max() < 2**bits
    found = (np.float32(grid.step) * numbers + np.array(grid.origin, np.float32)).astype(np.float32)
    assert np.abs(found.astype(np.float64) - points).max() <= grid.error


def test_the_default_grid_is_finer_than_a_sixteen_thousandth_of_the_longest_side():
    box = np.array([[0, 0, 0], [2, 1, 0.5]], np.float32)
    grid = grid_of(model_of(box), Precision().position_bits)
    assert grid.error < 2 / 32_000
    assert grid.quantise(box)[1].tolist() == [16383, 8192, 4096]


def test_parts_that_touch_still_touch():
    left = np.array([[0, 0, 0], [1 / 3, 0, 0]], np.float32)
    right = np.array([[1 / 3, 0, 0], [0.9, 7, 0]], np.float32)
    grid = grid_of(model_of(left, right), 14)
    assert np.array_equal(grid.quantise(left)[1], grid.quantise(right)[0])


@pytest.mark.parametrize("point", [0.0, 5.0, 1e30, 1e-40])
def test_a_model_without_extent_has_a_grid(point):
    points = np.full((3, 3), point, np.float32)
    grid = grid_of(model_of(points), 14)
    assert np.isfinite(grid.step)
    assert grid.step > 0
    assert (grid.quantise(points) == 0).all()


@given(
    uvs=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.just(2)), elements=st.floats(0, 1, width=32)
    ),
    bits=st.sampled_from([8, 10, 12, 16]),
)
@settings(max_examples=50, deadline=None)
def test_coordinates_within_the_picture_are_normalised_and_near(uvs, bits):
    found = quantise_uvs(uvs, bits)
    assert found.dtype == np.uint16
    assert np.abs(found / 65535 - uvs).max() <= Precision(uv_bits=bits).uv_error


def test_coordinates_that_repeat_the_picture_stay_floats():
    uvs = np.array([[-0.5, 0.2], [7.123, 0.9]], np.float32)
    found = quantise_uvs(uvs, 12)
    assert found.dtype == np.float32
    assert np.abs(found - uvs).max() <= Precision().uv_error


def test_coordinates_a_hair_outside_the_picture_are_taken_to_its_rim():
    assert quantise_uvs(np.array([[-1e-5, 1.00001]], np.float32), 12).tolist() == [[0, 65535]]


@pytest.mark.parametrize("wrong", [{"position_bits": 17}, {"normal_bits": 9}, {"uv_bits": 7}])
def test_bits_that_do_not_fit_the_format_are_refused(wrong):
    with pytest.raises(ValueError, match="bits"):
        Precision(**wrong)
