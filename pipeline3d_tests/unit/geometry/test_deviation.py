"""Distances between surfaces that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry.closest import Surface
from pipeline3d.geometry.deviation import measure_deviation
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d_tests import awkward_meshes
from pipeline3d_tests.awkward_meshes import coloured_torus, joined, sphere


def box() -> TexturedMesh:
    """From -0.5 to 0.5."""
    mesh = awkward_meshes.box()
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return replace(mesh, vertices=((mesh.vertices - low) / (high - low) - 0.5).astype(np.float32))


def surface(mesh: TexturedMesh) -> Surface:
    return Surface.of(mesh)


def test_a_surface_does_not_deviate_from_itself() -> None:
    for mesh in (box(), sphere(), coloured_torus()):
        found = measure_deviation(surface(mesh), surface(mesh))
        assert found.maximum_m < 1e-9
        assert found.rms_m < 1e-9


def test_a_larger_box_is_as_far_away_as_its_corners() -> None:
    larger = replace(box(), vertices=(box().vertices * np.float32(1.2)).astype(np.float32))
    found = measure_deviation(surface(larger), surface(box()))
    assert found.maximum_m == pytest.approx(0.1 * np.sqrt(3), rel=1e-5)
    assert found.relative_maximum == pytest.approx(found.maximum_m / (1.2 * np.sqrt(3)))
    assert 0.1 <= found.rms_m < found.maximum_m


@pytest.mark.parametrize("swapped", [False, True])
def test_what_only_one_of_the_two_has_counts_in_both_orders(swapped: bool) -> None:
    crumb = replace(box(), vertices=(box().vertices * np.float32(0.1) + np.float32(2)).astype(np.float32))
    pair = (surface(box()), surface(joined(box(), crumb)))
    found = measure_deviation(*(pair[::-1] if swapped else pair))
    assert found.maximum_m == pytest.approx(1.55 * np.sqrt(3), rel=0.01)


def test_another_triangulation_of_the_same_surface_is_at_distance_zero() -> None:
    def plane(count: int) -> TexturedMesh:
        x, y = np.meshgrid(np.linspace(0, 1, count + 1), np.linspace(0, 1, count + 1))
        index = np.arange((count + 1) ** 2).reshape(count + 1, -1)
        one, two, three, four = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        faces = np.concatenate(
            [np.stack(f, -1).reshape(-1, 3) for f in ((one, two, three), (two, four, three))]
        )
        vertices = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3).astype(np.float32)
        return TexturedMesh(vertices=vertices, faces=faces.astype(np.int32))

    found = measure_deviation(surface(plane(13)), surface(plane(50)))
    assert found.maximum_m < 1e-7
