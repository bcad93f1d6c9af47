"""Faces look outwards, hollows stay hollows, and a strip with one side is told."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.repairing import repair
from pipeline3d.geometry.winding import turn_outwards, wind_alike
from pipeline3d.geometry.workpiece import close, lay_open
from pipeline3d_tests.awkward_meshes import build, joined, plain, sphere, turned


def moebius(steps: int = 24) -> Model:
    angles = 2 * np.pi * np.arange(steps) / steps
    points = []
    for side in (-0.2, 0.2):
        ring = 1 + side * np.cos(angles / 2)
        points.append(np.stack([ring * np.cos(angles), side * np.sin(angles / 2), ring * np.sin(angles)], 1))
    faces = []
    for n in range(steps):
        a, b = n, n + steps
        c, d = (n + 1, n + 1 + steps) if n + 1 < steps else (steps, 0)
        faces += [(a, b, c), (c, b, d)]
    return Model(parts=(plain(np.concatenate(points), faces),))


def test_a_moebius_strip_has_one_side_and_is_left():
    work, turned_faces, one_sided = wind_alike(lay_open(moebius()))
    assert (turned_faces, one_sided) == (0, 1)
    assert (work.faces == lay_open(moebius()).faces).all()
    assert any("only one side" in told for told in repair(moebius()).unrepaired)


@pytest.mark.parametrize("share", [0.1, 0.49, 0.9])
def test_the_smaller_part_of_a_piece_is_turned(share):
    ball = sphere()
    faces = ball.faces.copy()
    chosen = np.random.default_rng(4).random(len(faces)) < share
    faces[chosen] = faces[chosen][:, ::-1]
    model = Model(parts=(plain(ball.vertices, faces),))
    work, count, _ = wind_alike(lay_open(model))
    assert count == min(chosen.sum(), (~chosen).sum())
    assert measure(close(work, model)).winding_consistent


@pytest.mark.parametrize(
    ("bodies", "count", "volume"),
    [
        pytest.param((sphere(),), 0, 0.506, id="outwards already"),
        pytest.param((turned(sphere()),), 1, 0.506, id="inside out"),
        pytest.param((sphere(), turned(sphere(centre=(2, 0, 0)))), 1, 1.012, id="one of two"),
        pytest.param((sphere(), turned(sphere(radius=0.3))), 0, 0.397, id="a hollow"),
        pytest.param((turned(sphere()), sphere(radius=0.3)), 2, 0.397, id="a hollow inside out"),
        pytest.param((turned(sphere()), turned(sphere(radius=0.3))), 2, 0.615, id="a filled one inside out"),
    ],
)
def test_outermost_shells_decide_for_what_is_within_them(bodies, count, volume):
    model = Model(parts=(joined(*bodies),))
    work, turned_pieces = turn_outwards(lay_open(model))
    assert turned_pieces == count
    assert measure(close(work, model)).volume == pytest.approx(volume, abs=2e-3)


def test_a_bowl_that_looks_inwards_is_left_since_it_may_be_meant_so():
    bowl = build("open_sphere").parts[0]
    assert turn_outwards(lay_open(Model(parts=(turned(bowl),))))[1] == 0
