"""Each sample knows the nearest triangle, without gaps between neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline3d.geometry import rasterising
from pipeline3d.geometry.cameras import Camera, place_camera
from pipeline3d.geometry.rasterising import rasterise, set_up_triangles

SIDE = 96


def seen_of(vertices, faces, camera=None, **options):
    viewpoint = place_camera(camera or Camera(azimuth_deg=0, elevation_deg=0), SIDE)
    two_sided = options.pop("two_sided", None)
    triangles = set_up_triangles(
        np.asarray(vertices, np.float32), np.asarray(faces, np.int32), viewpoint, two_sided
    )
    return rasterise(triangles, SIDE, **options)


def square(z: float) -> list[list[float]]:
    return [[-0.5, -0.5, z], [0.5, -0.5, z], [0.5, 0.5, z], [-0.5, 0.5, z]]


SQUARE = [[0, 1, 2], [0, 2, 3]]


def filled(fragments) -> np.ndarray:
    picture = np.zeros(SIDE * SIDE, bool)
    picture[fragments.pixel] = True
    return picture.reshape(SIDE, SIDE)


def test_a_fine_sphere_has_no_gap_inside_its_outline():
    ball = trimesh.creation.icosphere(subdivisions=4)
    picture = filled(seen_of(ball.vertices, ball.faces, Camera(azimuth_deg=33, elevation_deg=21)))
    for row in picture[picture.any(axis=1)]:
        columns = np.flatnonzero(row)
        assert len(columns) == columns[-1] - columns[0] + 1


def test_weights_are_those_of_the_place_that_is_seen():
    fragments = seen_of(square(0.2), SQUARE)
    assert fragments.weights.sum(axis=1) == pytest.approx(np.ones(len(fragments)), abs=1e-5)
    corners = np.array(square(0.2))[np.array(SQUARE)[fragments.face]]
    place = np.einsum("kij,ki->kj", corners, fragments.weights).astype(np.float32)
    x, y, _ = place_camera(Camera(azimuth_deg=0, elevation_deg=0), SIDE).project(place)
    row, column = np.divmod(fragments.pixel, SIDE)
    assert np.abs(x - column - 0.5).max() < 0.02
    assert np.abs(y - row - 0.5).max() < 0.02


def test_backs_are_seen_only_where_they_are_wanted():
    turned = [face[::-1] for face in SQUARE]
    assert len(seen_of(square(0), turned)) == 0
    both = seen_of(square(0), turned, two_sided=np.ones(2, bool))
    assert np.array_equal(filled(both), filled(seen_of(square(0), SQUARE)))
    assert both.behind.all()


def test_layers_come_off_one_after_another_from_the_nearest():
    vertices = square(0.4) + square(0) + square(-0.4)
    faces = [[corner + 4 * i for corner in face] for i in range(3) for face in SQUARE]
    beyond, found = None, []
    for _ in range(4):
        layer = seen_of(vertices, faces, beyond=beyond)
        found.append(set(layer.face // 2))
        beyond = np.zeros(SIDE * SIDE, np.float32)
        beyond[layer.pixel] = layer.closeness
    assert found[0] >= {0}
    assert 0 not in found[1]
    assert 2 in found[2]
    assert found[3] == set()


def test_the_size_of_the_steps_changes_nothing(monkeypatch):
    """A triangle larger than a step is cut into bands."""
    ball = trimesh.creation.icosphere(subdivisions=1)
    whole = seen_of(ball.vertices, ball.faces)
    monkeypatch.setattr(rasterising, "BLOCK", 97)
    parts = seen_of(ball.vertices, ball.faces)
    assert np.array_equal(whole.pixel, parts.pixel)
    assert np.array_equal(whole.weights, parts.weights)


def test_triangles_without_area_or_outside_of_the_picture_are_not_drawn():
    vertices = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [50, 50, 0], [51, 50, 0], [51, 51, 0]]
    assert len(seen_of(vertices, [[0, 1, 2], [3, 4, 5], [0, 0, 0]])) == 0
