"""Rays through the grid hit what they hit when every triangle is tried."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry import ray_grid
from pipeline3d.geometry.ray_grid import RayGrid
from pipeline3d_tests.awkward_meshes import build


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(["box", "mug", "coloured_torus", "crossed"]), st.integers(0, 1000))
def test_the_first_face_that_a_ray_leaves_through_is_found(name, seed):
    surface = build(name).surface()
    triangles = surface.vertices.astype(float)[surface.faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    random = np.random.default_rng(seed)
    origins = triangles[random.integers(0, len(triangles), 40)].mean(axis=1)
    directions = random.normal(0, 1, (40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    _, distance = RayGrid.build(triangles).first_hits(
        origins, directions, facing=normals, nearest=1e-6, furthest=10.0
    )
    wanted = [_nearest(triangles, normals, *ray) for ray in zip(origins, directions, strict=True)]
    assert np.allclose(distance, wanted, rtol=1e-6)


@pytest.mark.parametrize("pairs", [1, 50])
def test_rays_find_the_same_however_few_are_tested_at_once(monkeypatch, pairs):
    triangles = build("mug").surface().vertices.astype(float)[build("mug").surface().faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    origins = triangles[::50].mean(axis=1)
    directions = np.tile([0.6, 0.0, 0.8], (len(origins), 1))

    def cast():
        return RayGrid.build(triangles).first_hits(
            origins, directions, facing=normals, nearest=1e-6, furthest=10.0
        )

    wanted = cast()
    monkeypatch.setattr(ray_grid, "MOST_PAIRS_AT_ONCE", pairs)
    for found, expected in zip(cast(), wanted, strict=True):
        assert np.array_equal(found, expected)


def _nearest(triangles, normals, origin, direction) -> float:
    one, other = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    across = np.cross(direction, other)
    size = np.einsum("ij,ij->i", one, across)
    size[size == 0] = 1e-30
    away = origin - triangles[:, 0]
    turned = np.cross(away, one)
    u, v = np.einsum("ij,ij->i", away, across) / size, turned @ direction / size
    distance = np.einsum("ij,ij->i", other, turned) / size
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 1e-6) & (normals @ direction > 0)
    return float(min(distance[hit].min(initial=10.0), 10.0))
