"""Fewer faces: flat ones go, shape, seams and attributes stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.thinning import thin_out
from pipeline3d_tests.awkward_meshes import USABLE, build, textured_sphere


def square(steps: int) -> TexturedMesh:
    """A flat square of 2 * steps² faces with a picture over it."""
    across, down = np.meshgrid(np.linspace(0, 1, steps + 1), np.linspace(0, 1, steps + 1))
    uvs = np.stack([across, down], axis=-1).reshape(-1, 2).astype(np.float32)
    index = np.arange((steps + 1) ** 2).reshape(steps + 1, steps + 1)
    corner, right, below, both = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate(
        [np.stack(f, -1).reshape(-1, 3) for f in ((corner, below, right), (right, below, both))]
    )
    points = np.column_stack([uvs, np.zeros(len(uvs))]).astype(np.float32)
    return TexturedMesh(
        vertices=points,
        faces=faces.astype(np.int32),
        uvs=uvs,
        normals=np.roll(points * 0 + (1, 0, 0), 2, 1).astype(np.float32),
    )


def test_a_flat_square_needs_few_faces():
    found = thin_out(Model(parts=(square(20),)), 1e-4).parts[0]
    assert len(found.faces) < 100
    assert found.uvs is not None
    assert np.allclose(found.uvs, found.vertices[:, :2])
    assert np.allclose(found.vertices.max(axis=0), (1, 1, 0))


def test_a_round_surface_stays_within_the_error():
    ball = textured_sphere(rows=80, columns=120)
    found = thin_out(Model(parts=(ball,)), 1e-3).parts[0]
    assert len(found.faces) < 0.7 * len(ball.faces)
    radii = np.linalg.norm(found.vertices[found.faces].mean(axis=1), axis=1)
    assert np.abs(radii - 0.5).max() < 5e-3
    far, _ = cKDTree(ball.vertices).query(found.vertices)
    assert far.max() == pytest.approx(0, abs=1e-7), "vertices are the source's own"


@pytest.mark.parametrize("name", USABLE)
def test_no_mesh_grows_or_loses_a_part(name):
    model = build(name)
    found = thin_out(model, 1e-4)
    assert found.face_count <= model.face_count
    for before, after in zip(model.parts, found.parts, strict=True):
        assert len(after.faces) > 0
        assert after.faces.max() < len(after.vertices)
        assert replace(after, vertices=before.vertices, faces=before.faces).material is before.material


def test_a_model_without_extent_stays_as_it_is():
    model = build("point")
    assert thin_out(model, 1e-4) is model
