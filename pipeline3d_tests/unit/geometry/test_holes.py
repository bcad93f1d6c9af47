"""Rims are found and covered: alone, touching, bent, and where a flat cover would double an edge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry.holes import fill_holes
from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.workpiece import close, lay_open
from pipeline3d_tests.awkward_meshes import box, plain, textured_sphere


def covered(mesh, which="all"):
    model = Model(parts=(mesh,))
    work, count = fill_holes(lay_open(model), which=which)
    return close(work, model), count


@pytest.mark.parametrize("size", [1, 2, 5, 12, 30])
def test_a_hole_of_any_number_of_edges_is_closed(size):
    ball = textured_sphere(rows=24, columns=32)
    middles = ball.vertices[ball.faces].mean(axis=1)
    nearest = np.argsort(np.linalg.norm(middles - [0.3, 0.2, 0.35], axis=1))[:size]
    model, _ = covered(replace(ball, faces=np.delete(ball.faces, nearest, axis=0)))
    facts = measure(model)
    assert facts.watertight
    assert facts.winding_consistent
    assert facts.volume == pytest.approx(measure(ball).volume, rel=0.02)
    assert facts.duplicate_faces == 0


def test_holes_that_touch_in_a_row_are_closed_one_by_one():
    ball = textured_sphere(rows=24, columns=32)
    model, count = covered(replace(ball, faces=np.delete(ball.faces, range(100, 106), axis=0)), "small")
    assert count == 6
    assert measure(model).watertight


def test_a_cover_that_would_double_an_edge_gets_a_middle_point():
    """Two faces of a tetrahedron leave a rim of four edges; one diagonal is an edge already."""
    points = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    model, count = covered(plain(points, [(0, 2, 1), (0, 1, 3)]))
    facts = measure(model)
    assert count == 1
    assert facts.non_manifold_edges == 0
    assert facts.watertight


def test_faces_wound_differently_have_no_rim_to_follow():
    cube = box()
    faces = cube.faces[2:].copy()
    faces[4] = faces[4, ::-1]  # one at the rim
    model, count = covered(replace(cube, faces=faces))
    assert count == 0
    assert model.face_count == 10
