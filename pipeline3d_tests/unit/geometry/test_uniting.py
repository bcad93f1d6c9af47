"""Crossing bodies become one solid that keeps the colours of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry.crossings import count_crossing_faces
from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.solidity import as_manifold, is_solid
from pipeline3d.geometry.uniting import unite_bodies
from pipeline3d_tests.awkward_meshes import USABLE, box, build, coloured_torus, sphere, textured_sphere


def test_two_cubes_have_the_volume_of_their_union():
    second = replace(box(), vertices=box().vertices + np.float32([0.5, 0.25, 0.25]))
    united, bodies = unite_bodies(Model(parts=(box(), second)))
    facts = measure(united)
    assert bodies == 2
    assert facts.volume == pytest.approx(2 - 0.5 * 0.75 * 0.75, rel=1e-6)
    assert facts.watertight
    assert facts.components == 1
    assert count_crossing_faces(united) == 0


def test_texture_places_and_colours_are_where_they_were():
    """Each vertex that was there before has what it had; new ones of the cut lie between."""
    ring = replace(coloured_torus(), vertices=coloured_torus().vertices + np.float32([0.4, 0, 0]))
    source = Model(parts=(textured_sphere(), ring))
    united, _ = unite_bodies(source)
    assert len(united.parts) == 2
    for part, before in zip(united.parts, source.parts, strict=True):
        field = "uvs" if before.uvs is not None else "colours"
        known = {
            (*place.tolist(), *np.round(value.astype(float), 4).tolist())
            for place, value in zip(before.vertices, getattr(before, field), strict=True)
        }
        places = {key[:3] for key in known}
        old = [
            (*place.tolist(), *np.round(value.astype(float), 4).tolist())
            for place, value in zip(part.vertices, getattr(part, field), strict=True)
            if tuple(place.tolist()) in places
        ]
        assert len(old) > 50
        assert set(old) <= known


@pytest.mark.parametrize("name", ["box", "hollow_ball", "open_box"])
def test_one_body_hollows_and_open_surfaces_are_not_united(name):
    assert unite_bodies(build(name)) is None


@pytest.mark.parametrize("name", USABLE)
def test_what_manifold3d_takes_for_a_solid_is_closed_by_our_measures(name):
    model = build(name)
    facts = measure(model)
    if is_solid(model):
        assert facts.winding_consistent
        assert facts.volume > 0
        assert as_manifold(model).volume() == pytest.approx(facts.volume, rel=1e-3)
    else:
        assert not (facts.watertight and facts.winding_consistent and facts.volume > 0)


def test_a_body_inside_another_vanishes():
    united, _ = unite_bodies(Model(parts=(sphere(), sphere(radius=0.3))))
    assert measure(united).volume == pytest.approx(measure(sphere()).volume, rel=1e-5)
