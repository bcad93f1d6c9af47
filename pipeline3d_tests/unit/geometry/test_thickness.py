"""Walls of known thickness are measured, and what has no inside has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry import thickness
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.thickness import measure_thinnest, sample_walls
from pipeline3d_tests.awkward_meshes import box, build, coloured_torus, joined, sphere, textured_sphere


@pytest.mark.parametrize(
    ("name", "thinnest", "tolerance"),
    [
        pytest.param("box", 1.0, 1e-6, id="a cube"),
        pytest.param("textured_sphere", 1.0, 0.04, id="a ball of few faces is thinner in their middles"),
        pytest.param("hollow_ball", 0.2, 0.01, id="a shell, not the ball that it looks like"),
        pytest.param("mug", 0.11, 0.01, id="the wall of a mug"),
        pytest.param("coloured_torus", 0.3, 0.02, id="a ring is as thin as its tube"),
    ],
)
def test_the_thinnest_wall_of_a_known_solid_is_found(name, thinnest, tolerance):
    assert measure_thinnest(build(name)) == pytest.approx(thinnest, abs=tolerance)


def test_a_thin_plate_is_as_thin_as_it_is_whatever_its_size():
    thin = np.array([1, 1, 0.02], np.float32)
    for scale in (1e-3, 1, 1e3):
        plate = replace(box(), vertices=box().vertices * thin * np.float32(scale))
        assert measure_thinnest(Model(parts=(plate,))) == pytest.approx(0.02 * scale, rel=1e-4)


def test_a_thin_part_of_a_thick_body_is_seen():
    plate = replace(box(), vertices=box().vertices * np.array([1, 1, 0.01], np.float32) + np.float32(2))
    assert measure_thinnest(Model(parts=(joined(sphere(), plate),))) == pytest.approx(0.01, rel=1e-3)


def test_a_model_crammed_into_a_corner_of_its_bounds_is_not_measured_for_minutes(monkeypatch):
    far = replace(box(), vertices=box().vertices + np.float32(1e5))
    crammed = Model(parts=(joined(sphere(), far),))
    monkeypatch.setattr(thickness, "MOST_TESTS", 1_500 * 100)
    assert measure_thinnest(crammed) is None
    assert measure_thinnest(Model(parts=(sphere(),))) is not None


def test_edges_that_are_not_very_sharp_are_no_thin_walls():
    """The sides of a tetrahedron meet at 70 degrees: nowhere do two of them face each other."""
    points = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)], np.float32)
    faces = np.array([(0, 1, 2), (0, 3, 1), (0, 2, 3), (1, 3, 2)], np.int32)
    walls = sample_walls(Model(parts=(replace(box(), vertices=points, faces=faces),)))
    assert walls is not None
    assert len(walls.thickness) == 0
    assert walls.thinnest is None


@pytest.mark.parametrize(
    "name", ["open_box", "fan", "inside_out", "turned_patch", "flat", "empty", "no_faces", "point", "nan"]
)
def test_what_has_no_inside_has_no_thickness(name):
    assert measure_thinnest(build(name)) is None


def test_the_same_model_gives_the_same_number_in_parts_and_in_one():
    ring = coloured_torus()
    halves = (replace(ring, faces=ring.faces[::2]), replace(ring, faces=ring.faces[1::2]))
    one, again = measure_thinnest(Model(parts=(ring,))), measure_thinnest(Model(parts=(ring,)))
    assert one == again
    assert measure_thinnest(Model(parts=halves)) == pytest.approx(one, rel=0.01)


def test_thousands_of_faces_agree_with_the_true_ball():
    fine = Model(parts=(textured_sphere(rows=60, columns=60),))
    assert measure_thinnest(fine) == pytest.approx(1.0, abs=0.003)
