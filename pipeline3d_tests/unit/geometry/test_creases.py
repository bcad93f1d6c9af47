"""Normals break at the edges of a box and not on a ball."""

from __future__ import annotations

import numpy as np

from pipeline3d.geometry.creases import split_at_creases
from pipeline3d_tests.awkward_meshes import box, sphere


def test_a_box_has_one_normal_for_each_side() -> None:
    mesh = box()
    source, faces, normals = split_at_creases(mesh.vertices, mesh.faces.astype(np.int64))
    assert len(source) == 24
    assert np.array_equal(source[faces], mesh.faces)
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    assert np.allclose(normals[faces], across[:, None], atol=1e-4)


def test_a_ball_is_not_split_and_its_normals_look_outwards() -> None:
    mesh = sphere()
    source, _, normals = split_at_creases(mesh.vertices, mesh.faces.astype(np.int64))
    assert len(source) == len(mesh.vertices)
    outwards = mesh.vertices[source] / np.linalg.norm(mesh.vertices[source], axis=1, keepdims=True)
    assert np.einsum("ij,ij->i", normals, outwards).min() > 0.99
