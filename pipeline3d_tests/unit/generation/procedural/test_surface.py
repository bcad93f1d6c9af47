"""Solids and surfaces: volumes are right, boxes hold, simplified meshes are closed and keep colours."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.generation.inflation.body import is_closed
from pipeline3d.generation.procedural import solids
from pipeline3d.generation.procedural.parts import Part
from pipeline3d.generation.procedural.pinches import split_double_edges
from pipeline3d.generation.procedural.solids import X, Y, Z
from pipeline3d.generation.procedural.surface import mesh_parts, simplify
from pipeline3d.generation.procedural.templates import TEMPLATES

PALETTE = {"main": (200, 40, 40), "accent": (40, 40, 200)}
SQUARE = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
# solid, its volume
SOLIDS = {
    "ball": (solids.ball(0.5), 4 / 3 * np.pi * 0.125),
    "ellipsoid": (solids.ellipsoid(0.5, 0.3, 0.4), 4 / 3 * np.pi * 0.06),
    "box": (solids.box(1, 0.5, 0.8, 0.0), 0.4),
    "cylinder": (solids.cylinder(0.4, 1, 0.0, X), np.pi * 0.16),
    "frustum": (solids.frustum(0.5, 0.2, 1), np.pi / 3 * (0.25 + 0.1 + 0.04)),
    "cone": (solids.frustum(0.5, 0, 1), np.pi / 3 * 0.25),
    "torus": (solids.torus(0.4, 0.15, Z), 2 * np.pi**2 * 0.4 * 0.0225),
    "rod": (solids.rod((0, 0, 0), (1, 0, 0), 0.2), np.pi * 0.04 + 4 / 3 * np.pi * 0.008),
    "lathe": (solids.lathe([(0, 0.3), (1, 0.3)]), np.pi * 0.09),
    "prism": (solids.prism(SQUARE, 0.5, 0.0), 0.5),
    "turned": (solids.box(1, 0.5, 0.8, 0.0).turned(Y, 30).turned(Z, 70), 0.4),
    "scaled": (solids.ball(1).scaled(0.5), 4 / 3 * np.pi * 0.125),
    "mirrored": (solids.ball(0.2).moved(x=0.5).mirrored(), 2 * 4 / 3 * np.pi * 0.008),
    "around": (solids.ball(0.2).moved(z=0.6).around(5), 5 * 4 / 3 * np.pi * 0.008),
    "difference": (solids.box(1, 1, 1, 0.0) - solids.box(0.5, 0.5, 2, 0.0), 0.75),
    "intersection": (solids.box(1, 1, 1, 0.0) & solids.box(1, 1, 1, 0.0).moved(x=0.5), 0.5),
    "half": (solids.ball(0.5) - solids.above(0), 2 / 3 * np.pi * 0.125),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_a_solid_has_its_volume_and_stays_in_its_box(name):
    solid, volume = SOLIDS[name]
    shell = mesh_parts([Part(solid)], PALETTE, 150_000)
    mesh = trimesh.Trimesh(shell.vertices, shell.faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(volume, rel=0.03)
    cell = np.ptp(shell.vertices, axis=0).max() / 50
    assert (shell.vertices >= np.array(solid.low) - cell).all()
    assert (shell.vertices <= np.array(solid.high) + cell).all()


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_boxes_of_template_parts_hold_all_of_them(name):
    """Nothing of a part is inside just outside of its box: the lattice would cut it off there."""
    random = np.random.default_rng(1)
    for part in TEMPLATES[name].build():
        if part.paint:
            continue
        for solid in part.solid.pieces or (part.solid,):
            low, high = np.array(solid.low), np.array(solid.high)
            places = random.uniform(low, high, (200, 3))
            axis, side = random.integers(0, 3, 200), random.integers(0, 2, 200)
            outside = 1e-3 * (2 * side - 1)
            places[np.arange(200), axis] = np.where(side, high[axis], low[axis]) + outside
            x, y, z = places.T.astype(np.float32)
            assert (solid.distance(x, y, z) > -1e-4).all()


def test_simplifying_keeps_two_colours_apart():
    parts = [Part(solids.box(1, 1, 1)), Part(solids.box(2, 2, 2).moved(y=1.13), "accent", paint=True)]
    shell = mesh_parts(parts, PALETTE, 100_000)
    fewer = simplify(shell, 2_000)
    assert len(fewer.faces) <= 2_040
    assert is_closed(fewer.faces)
    upper, lower = fewer.vertices[:, 1] > 0.17, fewer.vertices[:, 1] < 0.09
    assert (fewer.colours[upper] == fewer.colours[upper][0]).all()
    assert (fewer.colours[lower] == fewer.colours[lower][0]).all()
    mixed = (fewer.colours[fewer.faces][..., 0].std(axis=1) > 0) & (
        np.ptp(fewer.vertices[fewer.faces][..., 1], axis=1) > 0.06
    )
    assert not mixed.any()


def test_a_double_edge_is_split():
    """Two tetrahedra that share an edge, as simplifying may leave them."""
    faces = np.array(
        [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3], [0, 5, 1], [0, 1, 4], [1, 5, 4], [5, 0, 4]], np.int32
    )
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [0, -1, 0]], np.float32)
    assert not is_closed(faces)
    places, split, source = split_double_edges(vertices, faces)
    assert is_closed(split)
    assert len(places) == len(source) == 7
    assert places[6].tolist() == [0.5, 0, 0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(100, 4000))
def test_any_pile_of_solids_is_closed_before_and_after_simplifying(seed, count, faces):
    random = np.random.default_rng(seed)
    kinds = [solid for solid, _ in SOLIDS.values()]
    parts = [
        Part(
            kinds[random.integers(len(kinds))]
            .turned(int(random.integers(3)), float(random.uniform(0, 360)))
            .moved(*random.uniform(-0.6, 0.6, 3)),
            ("main", "accent")[random.integers(2)],
        )
        for _ in range(count)
    ]
    shell = mesh_parts(parts, PALETTE, 40_000)
    assert is_closed(shell.faces)
    fewer = simplify(shell, faces)
    assert is_closed(fewer.faces)
    assert trimesh.Trimesh(fewer.vertices, fewer.faces, process=False).volume > 0
