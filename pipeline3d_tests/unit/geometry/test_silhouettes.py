"""How well a mesh's front covers the photo's object."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.silhouettes import agreement


def mesh_of(shape: trimesh.Trimesh) -> TexturedMesh:
    return TexturedMesh(vertices=np.float32(shape.vertices), faces=np.int32(shape.faces))


def disc(centre: tuple[int, int], radius: int) -> np.ndarray:
    rows, columns = np.mgrid[0:200, 0:300]
    inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
    return (inside * 255).astype(np.uint8)


BALL = mesh_of(trimesh.creation.icosphere(subdivisions=4, radius=3.0))


@pytest.mark.parametrize(("centre", "radius"), [((100, 150), 80), ((60, 60), 40)])
def test_a_ball_agrees_with_a_disc_wherever_and_however_large_it_is(centre, radius):
    assert agreement(BALL, disc(centre, radius)) > 0.97


def test_another_shape_agrees_less():
    box = mesh_of(trimesh.creation.box(extents=(1, 3, 1)))
    assert agreement(box, disc((100, 150), 80)) < 0.5


def test_what_points_up_in_the_photo_points_up_in_the_mesh():
    cone = mesh_of(trimesh.creation.cone(radius=1, height=2).apply_transform(Y_UP))
    rows, columns = np.mgrid[0:200, 0:200]
    standing = np.uint8(255 * (np.abs(columns - 100) * 2 <= rows))
    assert agreement(cone, standing) > 0.9
    assert agreement(cone, standing[::-1]) < 0.7


Y_UP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)


def test_nothing_agrees_with_nothing():
    assert agreement(BALL, np.zeros((10, 10), np.uint8)) == 0.0
    empty = TexturedMesh(vertices=np.zeros((0, 3), np.float32), faces=np.zeros((0, 3), np.int32))
    assert agreement(empty, disc((100, 150), 80)) == 0.0
