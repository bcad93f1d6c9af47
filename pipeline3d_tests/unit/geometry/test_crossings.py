"""Faces that run through each other are counted, those that only touch are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from pipeline3d.geometry.crossings import count_crossing_faces
from pipeline3d.geometry.mesh import Model
from pipeline3d_tests.awkward_meshes import USABLE, build, joined, plain, sphere, textured_sphere

FREE = [name for name in USABLE if name not in ("crossed", "two_parts", "floaters")]


@pytest.mark.parametrize("name", FREE)
def test_surfaces_that_do_not_cross_have_no_crossings(name):
    assert count_crossing_faces(build(name)) == 0


def test_two_triangles_through_each_other_are_two_faces():
    first = [(-1, 0, -1), (1, 0, -1), (0, 0, 2)]
    second = [(0, -1, 0), (0, 1, 0), (0.1, 0, 5)]
    model = Model(parts=(plain([*first, *second], [(0, 1, 2), (3, 4, 5)]),))
    assert count_crossing_faces(model) == 2


def test_balls_that_run_through_each_other_cross_where_trimesh_cuts_them():
    one, other = sphere(), sphere(radius=0.4, centre=(0.4, 0.1, 0))
    found = count_crossing_faces(Model(parts=(joined(one, other),)))
    assert found == count_by_hand(one, other)
    assert found > 20


def count_by_hand(one, other) -> int:
    """Every face against every other, by rays along the edges."""
    meshes = [trimesh.Trimesh(mesh.vertices, mesh.faces, process=False) for mesh in (one, other)]
    total = 0
    pierced = [np.zeros(len(mesh.faces), bool) for mesh in meshes]
    for mine, theirs in ((0, 1), (1, 0)):
        triangles, faces = meshes[theirs].triangles, meshes[mine].triangles
        for number, corners in enumerate(faces):
            for start, end in ((0, 1), (1, 2), (2, 0)):
                origin, along = corners[start], corners[end] - corners[start]
                edge_one, edge_two = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
                across = np.cross(along, edge_two)
                size = np.einsum("ij,ij->i", edge_one, across)
                away = origin - triangles[:, 0]
                size[size == 0] = 1e-30
                u = np.einsum("ij,ij->i", away, across) / size
                turned = np.cross(away, edge_one)
                v, t = turned @ along / size, np.einsum("ij,ij->i", edge_two, turned) / size
                hit = (u > 0) & (v > 0) & (u + v < 1) & (t > 0) & (t < 1)
                pierced[theirs] |= hit
                pierced[mine][number] |= hit.any()
    total = sum(int(flags.sum()) for flags in pierced)
    return total


def test_a_surface_that_folds_through_itself_is_found():
    """The southern quarter of a ball is pushed up through the northern one."""
    ball = textured_sphere(rows=30, columns=30)
    vertices = ball.vertices.copy()
    vertices[vertices[:, 1] < -0.35, 1] += 1.2
    assert count_crossing_faces(Model(parts=(replace(ball, vertices=vertices),))) > 30


def test_what_cannot_be_told_is_not_zero():
    assert count_crossing_faces(build("nan")) is None


def test_nothing_crosses_nothing():
    assert count_crossing_faces(build("empty")) == 0
