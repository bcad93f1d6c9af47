"""Each check fails for the mesh that it is there to stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from pipeline3d.geometry.checks import MESH_CHECKS, check_mesh
from pipeline3d.geometry.mesh import TexturedMesh

BALL = trimesh.creation.icosphere(subdivisions=2)
GOOD = TexturedMesh(vertices=np.asarray(BALL.vertices, np.float32), faces=np.asarray(BALL.faces, np.int32))


def failed(mesh: TexturedMesh) -> set[str]:
    return {check.name for check in check_mesh(mesh) if not check.passed}


def test_a_good_mesh_passes_everything():
    assert failed(GOOD) == set()
    assert [check.name for check in check_mesh(GOOD)] == [spec.name for spec in MESH_CHECKS]


@pytest.mark.parametrize(
    ("mesh", "check"),
    [
        pytest.param(replace(GOOD, faces=GOOD.faces[:0]), "not_empty", id="no faces"),
        pytest.param(replace(GOOD, vertices=GOOD.vertices * np.float32(np.nan)), "finite", id="NaN"),
        pytest.param(replace(GOOD, vertices=GOOD.vertices * np.float32(1e6)), "in_bounds", id="a planet"),
        pytest.param(
            replace(GOOD, vertices=GOOD.vertices * np.array([1, 1, 0], np.float32) * 0),
            "few_degenerate_faces",
            id="a point",
        ),
        pytest.param(replace(GOOD, faces=GOOD.faces[5:]), "watertight", id="a hole"),
    ],
)
def test_each_fault_fails_its_check(mesh, check):
    assert check in failed(mesh)


def test_only_an_open_surface_is_a_mere_warning():
    severities = {check.name: check.severity for check in check_mesh(GOOD)}
    assert {name for name, severity in severities.items() if severity == "warning"} == {"watertight"}
