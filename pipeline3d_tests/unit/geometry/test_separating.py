"""Solids that touch are a hair apart afterwards, and stay so."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.geometry.cleaning import RIM_GAP, join_near_rims
from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.separating import HAIR, pull_apart
from pipeline3d.geometry.workpiece import close, lay_open
from pipeline3d_tests.awkward_meshes import USABLE, build


@pytest.mark.parametrize(("name", "places"), [("bow_tie", 1), ("boxes_at_an_edge", 2)])
def test_touching_solids_become_two(name, places):
    model = build(name)
    work, count = pull_apart(lay_open(model))
    facts = measure(close(work, model))
    assert count == places
    assert facts.components == 2
    assert facts.watertight
    assert facts.volume == pytest.approx(2, rel=1e-4)
    before = build(name).surface().vertices
    moved = work.positions[len(before) :]
    assert len(moved) == places
    step = np.linalg.norm(moved[:, None] - before[None], axis=2).min(axis=1)
    assert step == pytest.approx([HAIR * lay_open(model).diagonal] * places, rel=0.05)


@pytest.mark.parametrize("name", ["bow_tie", "boxes_at_an_edge", "fan"])
def test_what_was_pulled_apart_is_not_joined_again(name):
    work, _ = pull_apart(lay_open(build(name)))
    assert join_near_rims(work)[1] == 0
    assert pull_apart(work)[1] == 0
    assert 2 * 3**0.5 * RIM_GAP < HAIR


TOUCHING = ("bow_tie", "boxes_at_an_edge", "fan", "small_holes", "doubled_faces", "slivers", "nearly_welded")


@pytest.mark.parametrize("name", [name for name in USABLE if name not in TOUCHING])
def test_surfaces_that_do_not_touch_are_left(name):
    work = lay_open(build(name))
    assert pull_apart(work)[0] is work
