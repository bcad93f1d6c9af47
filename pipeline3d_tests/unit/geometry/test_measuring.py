"""Measures of solids that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d_tests.awkward_meshes import USABLE, build, textured_sphere


def taken(mesh: trimesh.Trimesh) -> TexturedMesh:
    return TexturedMesh(
        vertices=np.asarray(mesh.vertices, np.float32), faces=np.asarray(mesh.faces, np.int32)
    )


BOX = trimesh.creation.box((1, 2, 3))
RING = trimesh.creation.torus(1, 0.3)


def without_a_face(mesh: trimesh.Trimesh) -> TexturedMesh:
    return TexturedMesh(
        vertices=np.asarray(mesh.vertices, np.float32), faces=np.asarray(mesh.faces[1:], np.int32)
    )


def with_a_turned_face(mesh: trimesh.Trimesh) -> TexturedMesh:
    faces = np.asarray(mesh.faces, np.int32).copy()
    faces[0] = faces[0, ::-1]
    return TexturedMesh(vertices=np.asarray(mesh.vertices, np.float32), faces=faces)


@pytest.mark.parametrize(
    ("mesh", "wanted"),
    [
        pytest.param(taken(BOX), {"watertight": True, "euler_number": 2, "components": 1}, id="box"),
        pytest.param(
            taken(RING), {"watertight": True, "euler_number": 0, "components": 1}, id="a ring has a hole"
        ),
        pytest.param(
            taken(BOX + RING), {"watertight": True, "euler_number": 2, "components": 2}, id="two bodies"
        ),
        pytest.param(without_a_face(BOX), {"watertight": False, "components": 1}, id="open"),
        pytest.param(
            with_a_turned_face(BOX), {"watertight": True, "winding_consistent": False}, id="a turned face"
        ),
    ],
)
def test_topology_is_seen(mesh, wanted):
    facts = measure(mesh)
    assert {name: getattr(facts, name) for name in wanted} == wanted


def test_sizes_of_a_box():
    facts = measure(taken(BOX))
    assert facts.volume == pytest.approx(6, rel=1e-6)
    assert facts.area == pytest.approx(22, rel=1e-6)
    assert facts.extents == pytest.approx((1, 2, 3))
    assert facts.winding_consistent


def test_seams_do_not_open_a_surface():
    """Every triangle has its own corners, as after a hard split for normals or textures."""
    split = TexturedMesh(
        vertices=np.asarray(BOX.triangles, np.float32).reshape(-1, 3),
        faces=np.arange(36, dtype=np.int32).reshape(-1, 3),
    )
    facts = measure(split)
    assert facts.watertight
    assert facts.vertices == 36
    assert facts.euler_number == 2


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("coloured_torus", {"genus": 1, "holes": 0}),
        ("mug", {"genus": 1, "components": 1}),
        ("hollow_ball", {"genus": 0, "components": 2}),
        ("two_parts", {"genus": 1, "components": 2, "parts": 2, "watertight": True}),
        ("halves", {"genus": 0, "components": 1, "parts": 2, "watertight": True}),
        ("open_box", {"genus": 0, "holes": 1, "boundary_edges": 4}),
        ("small_holes", {"genus": None, "boundary_edges": 12, "pinched_points": 2}),
        ("turned_patch", {"genus": None, "winding_consistent": False}),
        ("fan", {"genus": None, "non_manifold_edges": 1, "boundary_edges": 6}),
        ("boxes_at_an_edge", {"genus": None, "non_manifold_edges": 1, "watertight": False}),
        ("bow_tie", {"genus": None, "pinched_points": 1, "components": 1}),
        ("doubled_faces", {"duplicate_faces": 24, "watertight": False}),
        ("slivers", {"degenerate_faces": 2}),
        ("floaters", {"components": 7}),
        ("single_triangle", {"genus": 0, "holes": 1, "boundary_edges": 3}),
    ],
)
def test_each_awkward_mesh_shows_its_fault(name, wanted):
    facts = measure(build(name))
    assert {field: getattr(facts, field) for field in wanted} == wanted


@pytest.mark.parametrize("name", [name for name in USABLE if name not in ("single_triangle", "flat")])
def test_topology_agrees_with_trimesh(name):
    surface = build(name).surface()
    points, faces = np.unique(surface.vertices, axis=0, return_inverse=True)
    theirs = trimesh.Trimesh(points, faces.reshape(-1)[surface.faces], process=False)
    facts = measure(build(name))
    uses = np.bincount(theirs.edges_unique_inverse)
    assert facts.boundary_edges == (uses == 1).sum()
    assert facts.non_manifold_edges == (uses > 2).sum()
    assert facts.area == pytest.approx(theirs.area, rel=1e-5)
    if facts.watertight and facts.winding_consistent:
        assert facts.volume == pytest.approx(theirs.volume, rel=1e-5)
    assert facts.euler_number == len(np.unique(theirs.faces)) - len(uses) + len(
        faces.reshape(-1)[surface.faces]
    )


def test_texel_density_is_pixels_per_length():
    """A square of side 2 shows all of a picture of 64 x 64."""
    square = TexturedMesh(
        vertices=np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uvs=np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32),
        texture=textured_sphere().texture,
    )
    assert measure(square).texel_density == pytest.approx(32)
    assert measure(replace(square, texture=None)).texel_density is None
    assert measure(replace(square, texture=b"no picture")).texel_density is None


def test_minus_zero_is_zero():
    seam = textured_sphere()
    vertices = seam.vertices.copy()
    vertices[(vertices == 0) & (np.arange(len(vertices)) % 2 == 0)[:, None]] = np.float32(-0.0)
    assert measure(replace(seam, vertices=vertices)).watertight
