"""Normals break at the edges of a box and not on a ball."""

from __future__ import annotations

import numpy as np

from pipeline3d.geometry import creases
from pipeline3d.geometry.creases import add_normals, split_at_creases
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.topology import weld
from pipeline3d_tests.awkward_meshes import box, sphere, textured_sphere


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


def test_a_seam_of_the_texture_is_no_crease() -> None:
    ball = textured_sphere()
    vertices, faces = ball.vertices, ball.faces.astype(np.int64)
    source, _, normals = split_at_creases(vertices, faces)
    outwards = vertices[source] / np.linalg.norm(vertices[source], axis=1, keepdims=True)
    assert len(weld(vertices).first) < len(vertices)
    assert np.einsum("ij,ij->i", normals, outwards).min() > 0.99


def test_the_tip_of_a_cone_of_very_many_faces_takes_little_memory_and_is_smooth(monkeypatch) -> None:
    monkeypatch.setattr(creases, "PAIRS_AT_ONCE", 1_000)
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    rim = np.stack([np.cos(angles), np.zeros_like(angles), np.sin(angles)], axis=1)
    points = np.concatenate([[(0, 5, 0)], rim]).astype(np.float32)
    around = np.arange(1, len(points))
    faces = np.stack([np.zeros_like(around), np.roll(around, -1), around], axis=1)
    source, found, normals = split_at_creases(points, faces)
    tips = normals[found[:, 0]]
    assert (source[found[:, 0]] == 0).all()
    assert np.allclose(tips, (0, 1, 0), atol=1e-3)


def test_blocks_of_any_size_give_the_same(monkeypatch) -> None:
    mesh = sphere()
    wanted = split_at_creases(mesh.vertices, mesh.faces.astype(np.int64))
    monkeypatch.setattr(creases, "PAIRS_AT_ONCE", 7)
    for one, other in zip(split_at_creases(mesh.vertices, mesh.faces.astype(np.int64)), wanted, strict=True):
        assert np.array_equal(one, other)


def test_only_parts_without_normals_get_some() -> None:
    bare, dressed = box(), textured_sphere()
    bare = TexturedMesh(vertices=bare.vertices, faces=bare.faces)
    model = add_normals(Model(parts=(bare, dressed)))
    assert model.parts[1] is dressed
    assert model.parts[0].normals is not None
    assert len(model.parts[0].vertices) == 24
