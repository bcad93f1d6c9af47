"""What is dropped or joined is what has to be, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry.cleaning import drop_duplicates, drop_floaters, join_near_rims
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.workpiece import lay_open
from pipeline3d_tests.awkward_meshes import box, joined, plain, sphere, textured_sphere


def opened(*meshes):
    return lay_open(Model(parts=meshes))


def test_of_two_twins_the_one_that_runs_with_its_neighbours_stays():
    ball = sphere()
    patch = ball.faces[40:60]
    first = replace(ball, faces=np.concatenate([patch[:, ::-1], ball.faces]))
    work, dropped = drop_duplicates(opened(first))
    assert dropped == 20
    assert (work.faces == ball.faces).all()


def test_a_sheet_that_is_drawn_from_both_sides_is_left():
    sheet = plain([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [(0, 1, 2), (0, 2, 3), (2, 1, 0), (3, 2, 0)])
    work, dropped = drop_duplicates(opened(sheet))
    assert dropped == 0
    assert len(work.faces) == 4


@pytest.mark.parametrize(("gap", "joins"), [(1e-7, True), (1e-6, True), (2e-5, False), (1e-3, False)])
def test_rims_are_joined_up_to_a_rounding_error(gap, joins):
    """Two halves of a square, a gap apart."""
    left = plain([(0, 0, 0), (1, 0, 0), (1, 1, 0)], [(0, 1, 2)])
    right = plain([(0, 0, gap), (1, 1, gap), (0, 1, 0)], [(0, 1, 2)])
    _, count = join_near_rims(opened(left, right))
    assert count == (2 if joins else 0)


def test_points_inside_a_surface_are_never_joined():
    """However small its faces are beside the whole."""
    tiny = textured_sphere(radius=1e-6)
    far = replace(box(), vertices=box().vertices + np.float32(3))
    work = opened(tiny, far)
    assert join_near_rims(work)[0] is work


def test_a_tiny_piece_stays_when_it_is_the_largest():
    speck = sphere(radius=1e-6)
    work, count, told = drop_floaters(opened(speck))
    assert (count, told) == (0, None)
    assert len(work.faces) == 320


def test_a_button_is_no_floater():
    body, button = sphere(), sphere(radius=0.04, centre=(0, 0, 0.52))
    _, count, told = drop_floaters(opened(joined(body, button)))
    assert (count, told) == (0, None)


def test_crumbs_go_and_the_body_stays():
    crumbs = [replace(box(), vertices=box().vertices * np.float32(0.004) + np.float32(n)) for n in (1, 2, 3)]
    work, count, _ = drop_floaters(opened(joined(sphere(), *crumbs)))
    assert count == 3
    assert len(work.faces) == 320
