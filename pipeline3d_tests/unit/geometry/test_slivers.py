"""Faces without width become part of their neighbours, which keep their texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.slivers import flip_slivers
from pipeline3d.geometry.workpiece import close, lay_open
from pipeline3d_tests.awkward_meshes import build, textured_sphere


def with_point_on_edge(ball, number: int):
    """Face `number` split at the middle of its first edge, whose other face knows nothing of it."""
    a, b, c = ball.faces[number].tolist()
    m = len(ball.vertices)
    faces = np.concatenate([np.delete(ball.faces, number, axis=0), [[a, m, c], [m, b, c], [a, b, m]]])
    longer = {
        name: np.concatenate([getattr(ball, name), getattr(ball, name)[[a, b]].mean(axis=0, keepdims=True)])
        for name in ("vertices", "normals", "uvs")
    }
    return replace(ball, faces=faces.astype(np.int32), **longer)


@pytest.mark.parametrize("number", [40, 75, 96, 200, 300])
def test_a_point_on_an_edge_becomes_a_corner_on_both_sides(number):
    ball = textured_sphere()
    model = Model(parts=(with_point_on_edge(ball, number),))
    work, count = flip_slivers(lay_open(model))
    result = close(work, model)
    assert count == 1
    assert measure(result).watertight
    assert measure(result).volume == pytest.approx(measure(ball).volume, rel=1e-6)
    part = result.parts[0]
    stretch = np.ptp(part.uvs[part.faces], axis=1).max()
    assert stretch <= np.ptp(ball.uvs[ball.faces], axis=1).max() + 1e-6


def test_nothing_is_flipped_where_every_face_has_a_width():
    work = lay_open(build("mug"))
    flipped, count = flip_slivers(work)
    assert count == 0
    assert flipped is work


def test_a_sliver_at_a_rim_is_left():
    points = [(0, 0, 0), (1, 0, 0), (0.5, 0, 0), (0.5, 1, 0)]
    model = build("flat")
    mesh = replace(
        model.parts[0],
        vertices=np.array(points, np.float32),
        faces=np.array([(0, 2, 3), (2, 1, 3), (0, 1, 2)], np.int32),
    )
    assert flip_slivers(lay_open(Model(parts=(mesh,))))[1] == 0
