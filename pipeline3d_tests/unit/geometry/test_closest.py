"""Closest points against what is known and against every triangle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trimesh.triangles import closest_point

from pipeline3d.geometry.closest import Surface, closest_on_triangles
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d_tests import awkward_meshes
from pipeline3d_tests.awkward_meshes import sphere

NUMBERS = st.floats(-4, 4, allow_nan=False, width=32)


def box() -> TexturedMesh:
    """From -0.5 to 0.5."""
    mesh = awkward_meshes.box()
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return replace(mesh, vertices=((mesh.vertices - low) / (high - low) - 0.5).astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(values=st.lists(NUMBERS, min_size=12, max_size=12))
def test_the_closest_point_of_a_triangle_is_trimeshs(values: list[float]) -> None:
    point, corners = np.array(values[:3])[None], np.array(values[3:]).reshape(1, 3, 3)
    weights, squares = closest_on_triangles(point, corners)
    assert weights.min() >= -1e-9
    assert weights.sum() == pytest.approx(1)
    found = np.einsum("kc,kcd->kd", weights, corners)
    assert np.linalg.norm(point - found) == pytest.approx(np.sqrt(squares[0]), abs=1e-6)
    area = np.linalg.norm(np.cross(corners[0, 1] - corners[0, 0], corners[0, 2] - corners[0, 0]))
    if area > 1e-3:  # trimesh answers with numbers only where there is an area
        best = np.linalg.norm(point - closest_point(corners, point))
        assert np.sqrt(squares[0]) == pytest.approx(best, abs=1e-6)


def test_points_around_a_box_have_the_distances_that_can_be_worked_out() -> None:
    surface = Surface.of(box())
    points = np.array([[0, 0, 2], [0, 2, 0], [0.5, 0.5, 0.5], [1.5, 0.5, 0.5], [0.1, 0.0, 0.0], [2, 2, 2]])
    wanted = np.linalg.norm(np.maximum(np.abs(points) - 0.5, 0), axis=1)
    wanted[4] = 0.4
    found = surface.closest(points)
    assert found.distances == pytest.approx(wanted, abs=1e-9)
    places = np.einsum("kc,kcd->kd", found.weights, surface.corners[found.faces])
    assert np.linalg.norm(points - places, axis=1) == pytest.approx(wanted, abs=1e-9)
    exact = [surface.exact_distance(point, at_most=9.0) for point in points]
    assert exact == pytest.approx(wanted, abs=1e-9)


def test_spread_points_lie_on_their_faces_as_area_has_it() -> None:
    surface = Surface.of(box())
    points, faces = surface.spread(6000)
    assert np.bincount(faces, minlength=12) == pytest.approx(np.full(12, 500), abs=1)
    assert np.abs(points).max(axis=1) == pytest.approx(np.full(6000, 0.5))
    assert points.mean(axis=0) == pytest.approx(np.zeros(3), abs=0.01)


def test_one_side_of_a_thin_wall_does_not_answer_for_the_other() -> None:
    ball = sphere()
    inner = ball.vertices * np.float32(0.99)
    corners = np.concatenate([ball.vertices[ball.faces], inner[ball.faces[:, ::-1]]]).astype(np.float64)
    surface = Surface(corners=corners, normal_length=0.05)
    middle = surface.corners[: len(ball.faces)].mean(axis=1) * 0.995
    outwards = middle / np.linalg.norm(middle, axis=1, keepdims=True)
    assert (surface.closest(middle, normals=outwards).faces < len(ball.faces)).all()
    assert (surface.closest(middle, normals=-outwards).faces >= len(ball.faces)).all()
    with pytest.raises(ValueError, match="normals"):
        surface.closest(middle)


def test_no_points_and_faces_without_area_are_answered_too() -> None:
    point = Surface(corners=np.ones((2, 3, 3)))
    assert point.closest(np.array([[1.0, 1, 3]])).distances == pytest.approx([2])
    assert len(point.closest(np.zeros((0, 3))).faces) == 0
