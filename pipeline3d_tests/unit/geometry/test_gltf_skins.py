"""A skinned mesh stands where its skeleton puts it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.import_gltf import read_glb
from pipeline3d.geometry.import_limits import LIMITS
from pipeline3d_tests.strange_gltf import SQUARE, Strange


def figure(*, joints: list | None = None, weights: list | None = None, bind: bool = True) -> Strange:
    """The square on two joints, one moved up by two and both a hundred times larger than modelled."""
    strange = Strange()
    joints = [(0, 1, 0, 0)] * 4 if joints is None else joints
    weights = [(1, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0.5, 0.5, 0, 0)] if weights is None else weights
    numbers = strange.array(np.array(joints, np.uint8)), strange.array(np.array(weights, np.float32))
    strange.square()
    attributes = strange.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["JOINTS_0"], attributes["WEIGHTS_0"] = numbers
    strange.document["nodes"] = [
        {"children": [1, 2], "scale": [100, 100, 100]},
        {"translation": [0, 0, 0]},
        {"translation": [0, 2, 0]},
        {"mesh": 0, "skin": 0, "translation": [7, 7, 7]},
    ]
    strange.document["scenes"] = [{"nodes": [0, 3]}]
    strange.document["skins"] = [{"joints": [1, 2]}]
    if bind:
        identities = np.tile(np.eye(4, dtype=np.float32).reshape(1, 16), (2, 1))
        strange.document["skins"][0]["inverseBindMatrices"] = matrices(strange, identities)
    return strange


def matrices(strange: Strange, rows: np.ndarray) -> int:
    strange.document["accessors"].append(
        {
            "bufferView": strange.view(rows.tobytes()),
            "componentType": 5126,
            "count": len(rows),
            "type": "MAT4",
        }
    )
    return len(strange.document["accessors"]) - 1


@pytest.mark.parametrize("bind", [True, False])
def test_joints_move_the_vertices_and_the_node_does_not(bind):
    found = read_glb(figure(bind=bind).glb(), LIMITS, []).surface().vertices
    assert np.allclose(found, SQUARE * 100 + np.array([(0, 0, 0), (0, 0, 0), (0, 200, 0), (0, 100, 0)]))


def test_an_inverse_bind_matrix_is_applied_before_the_joint():
    strange = figure(weights=[(1, 0, 0, 0)] * 4)
    shift = np.eye(4, dtype=np.float32)
    shift[:3, 3] = (3, 0, 0)
    number = matrices(strange, np.stack([shift.T.reshape(16)] * 2))
    strange.document["skins"][0]["inverseBindMatrices"] = number
    found = read_glb(strange.glb(), LIMITS, []).surface().vertices
    assert np.allclose(found, (SQUARE + (3, 0, 0)) * 100)


def test_weights_are_shares_even_where_they_do_not_sum_to_one():
    found = read_glb(figure(weights=[(5, 0, 0, 0)] * 3 + [(0, 0, 0, 0)]).glb(), LIMITS, [])
    assert np.allclose(found.surface().vertices, SQUARE * 100)


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param(figure(joints=[(9, 0, 0, 0)] * 4), id="no such joint"),
        pytest.param(figure(joints=[(0, 0, 0, 0)] * 3), id="joints lack"),
        pytest.param(figure().changed("nodes/3/skin", 5), id="no such skin"),
        pytest.param(figure().changed("skins/0/joints", [1, 99]), id="joint outside the scene"),
        pytest.param(figure().changed("skins/0/joints", []), id="no joints"),
        pytest.param(figure().changed("skins/0/inverseBindMatrices", 0), id="no matrices"),
    ],
)
def test_a_skin_that_does_not_fit_is_refused(strange):
    with pytest.raises(UnusableInput) as caught:
        read_glb(strange.glb(), LIMITS, [])
    assert caught.value.code == "broken_model_file"
