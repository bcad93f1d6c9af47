"""Meshes stand on the ground, centred, as large as was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.pose import fit_to_size


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 50), st.floats(0.001, 100))
def test_the_longest_side_is_the_size_and_the_base_is_the_ground(seed, size_m, scale):
    points = np.random.default_rng(seed).normal(3, 1, (20, 3)) * scale
    mesh = TexturedMesh(vertices=points.astype(np.float32), faces=np.array([[0, 1, 2]], np.int32))
    placed = fit_to_size(mesh, size_m=size_m).vertices
    low, high = placed.min(axis=0), placed.max(axis=0)
    assert (high - low).max() == pytest.approx(size_m, rel=1e-4)
    assert low[1] == pytest.approx(0, abs=1e-4 * size_m)
    assert (low + high)[[0, 2]] / 2 == pytest.approx([0, 0], abs=1e-4 * size_m)


def test_a_point_cannot_be_given_a_size():
    mesh = TexturedMesh(vertices=np.ones((3, 3), np.float32), faces=np.array([[0, 1, 2]], np.int32))
    with pytest.raises(BrokenModelOutput):
        fit_to_size(mesh)
