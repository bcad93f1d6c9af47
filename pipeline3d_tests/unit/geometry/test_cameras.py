"""Cameras stand where they are asked to, or refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.cameras import Camera, place_camera


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"elevation_deg": 91}, "elevation_deg"),
        ({"azimuth_deg": math.nan}, "azimuth_deg"),
        ({"azimuth_deg": math.inf}, "azimuth_deg"),
        ({"distance": 0}, "distance"),
        ({"distance": "near"}, "distance"),
        ({"field_of_view_deg": 180}, "field_of_view_deg"),
        ({"field_of_view_deg": True}, "field_of_view_deg"),
        ({"distance": 0.5, "field_of_view_deg": 90}, "inside the model"),
    ],
)
def test_a_camera_that_cannot_be_is_refused_by_name(values, named):
    with pytest.raises(InvalidParameters, match=named):
        Camera(**values)


@given(
    azimuth=st.floats(-720, 720), elevation=st.floats(-90, 90), field=st.floats(2, 100), more=st.floats(1, 3)
)
@settings(max_examples=40, deadline=None)
def test_the_middle_of_the_model_is_in_the_middle_of_the_picture_from_anywhere(
    azimuth, elevation, field, more
):
    """Straight up and down too, where "up" has no direction."""
    camera = Camera(
        azimuth_deg=azimuth, elevation_deg=elevation, field_of_view_deg=field, distance=1.06 * more
    )
    viewpoint = place_camera(camera, 200)
    x, y, depth = viewpoint.project(np.zeros((1, 3), np.float32))
    assert (x[0], y[0]) == pytest.approx((100, 100), abs=1e-2)
    assert depth[0] > 1  # outside of the unit sphere
    assert np.allclose(viewpoint.axes @ viewpoint.axes.T, np.eye(3), atol=1e-5)


def test_points_of_the_unit_sphere_are_inside_the_picture_at_distance_one():
    points = np.random.default_rng(0).normal(size=(500, 3))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    x, y, _ = place_camera(Camera(distance=1.0), 100).project(points)
    radius = np.hypot(x - 50, y - 50)
    assert 49 < radius.max() <= 50.01


def test_a_ray_through_a_projected_point_meets_it():
    viewpoint = place_camera(Camera(azimuth_deg=70, elevation_deg=-20), 64)
    point = np.array([[0.3, -0.2, 0.5]], np.float32)
    x, y, depth = viewpoint.project(point)
    ray = viewpoint.rays(x, y) @ viewpoint.axes
    assert np.allclose(viewpoint.eye + ray * depth[:, None], point, atol=1e-4)
