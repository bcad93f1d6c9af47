"""Measures of solids that are known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import TexturedMesh


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
