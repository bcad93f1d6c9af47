"""Numbers in the binary chunk that are not what the JSON says."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.geometry.structure_check import check_glb
from pipeline3d_tests.broken_glbs import (
    ATTRIBUTES,
    CONTENT,
    DOCUMENT,
    IMAGE_VIEW,
    INDICES,
    NORMAL,
    POSITION,
    WHOLE,
    changed,
    overwritten,
)


def codes(data: bytes) -> set[str]:
    return {complaint.code for complaint in check_glb(data)}


POSITION_VIEW = DOCUMENT["accessors"][POSITION]["bufferView"]


def accessor(number: int, **entries: object) -> bytes:
    return changed(**{f"accessors__{number}__{name}": value for name, value in entries.items()})


def view(number: int, **entries: object) -> bytes:
    return changed(**{f"bufferViews__{number}__{name}": value for name, value in entries.items()})


VIOLATIONS = [
    pytest.param(view(0, buffer=3), "UNRESOLVED_REFERENCE", id="no such buffer"),
    pytest.param(view(0, byteLength=0), "VALUE_NOT_IN_RANGE", id="empty view"),
    pytest.param(view(0, byteLength="12"), "TYPE_MISMATCH", id="length as a word"),
    pytest.param(view(0, byteOffset=len(CONTENT)), "BUFFER_VIEW_TOO_LONG", id="view beyond the end"),
    pytest.param(view(0, byteOffset=2**62), "BUFFER_VIEW_TOO_LONG", id="view far beyond the end"),
    pytest.param(view(POSITION_VIEW, byteStride=6), "VALUE_NOT_IN_RANGE", id="odd stride"),
    pytest.param(view(POSITION_VIEW, byteStride=8), "ACCESSOR_SMALL_BYTESTRIDE", id="narrow stride"),
    pytest.param(view(POSITION_VIEW, byteStride=16), "ACCESSOR_TOO_LONG", id="wide stride"),
    pytest.param(view(IMAGE_VIEW, byteOffset=0), "BUFFER_VIEWS_OVERLAP", id="overlapping views"),
    pytest.param(accessor(POSITION, count=10**9), "ACCESSOR_TOO_LONG", id="a billion vertices"),
    pytest.param(accessor(POSITION, count=0), "VALUE_NOT_IN_LIST", id="no vertices"),
    pytest.param(accessor(POSITION, type="VEC9"), "VALUE_NOT_IN_LIST", id="unknown type"),
    pytest.param(accessor(POSITION, componentType=5124), "VALUE_NOT_IN_LIST", id="signed 32 bits"),
    pytest.param(accessor(POSITION, bufferView=99), "UNRESOLVED_REFERENCE", id="no such view"),
    pytest.param(accessor(POSITION, bufferView=...), "ACCESSOR_WITHOUT_DATA", id="all zeros"),
    pytest.param(
        accessor(POSITION, byteOffset=2, count=7), "ACCESSOR_TOTAL_OFFSET_ALIGNMENT", id="unaligned"
    ),
    pytest.param(accessor(POSITION, min=[0, 0, 0.5]), "ACCESSOR_MIN_MISMATCH", id="wrong minimum"),
    pytest.param(accessor(POSITION, max=[1, 1, 2]), "ACCESSOR_MAX_MISMATCH", id="wrong maximum"),
    pytest.param(accessor(POSITION, max=[1]), "ARRAY_LENGTH_NOT_IN_LIST", id="short maximum"),
    pytest.param(
        accessor(POSITION, min=...), "MESH_PRIMITIVE_POSITION_ACCESSOR_WITHOUT_BOUNDS", id="no minimum"
    ),
    pytest.param(accessor(POSITION, sparse={"count": 1}), "SPARSE_NOT_CHECKED", id="sparse"),
    pytest.param(accessor(NORMAL, count=7), "MESH_PRIMITIVE_UNEQUAL_ACCESSOR_COUNT", id="a normal too few"),
    pytest.param(accessor(INDICES, count=35), "MESH_PRIMITIVE_INCOMPATIBLE_MODE", id="half a triangle"),
    pytest.param(
        accessor(INDICES, componentType=5126),
        "MESH_PRIMITIVE_INDICES_ACCESSOR_INVALID_FORMAT",
        id="float indices",
    ),
    pytest.param(
        changed(meshes__0__primitives__0__indices=POSITION),
        "MESH_PRIMITIVE_INDICES_ACCESSOR_INVALID_FORMAT",
        id="positions as indices",
    ),
    pytest.param(changed(meshes__0__primitives__0__indices=88), "UNRESOLVED_REFERENCE", id="no such indices"),
    pytest.param(
        changed(meshes__0__primitives__0__attributes__NORMAL=ATTRIBUTES["TEXCOORD_0"]),
        "MESH_PRIMITIVE_ATTRIBUTES_ACCESSOR_INVALID_FORMAT",
        id="uvs as normals",
    ),
    pytest.param(
        changed(meshes__0__primitives__0__attributes__POSITION=...),
        "MESH_PRIMITIVE_NO_POSITION",
        id="no positions",
    ),
    pytest.param(overwritten(POSITION, 0, np.nan), "ACCESSOR_INVALID_FLOAT", id="NaN position"),
    pytest.param(overwritten(NORMAL, 2, np.inf), "ACCESSOR_INVALID_FLOAT", id="infinite normal"),
    pytest.param(overwritten(NORMAL, 0, 0.9), "ACCESSOR_VECTOR3_NON_UNIT", id="long normal"),
    pytest.param(overwritten(POSITION, 0, -1.0), "ACCESSOR_MIN_MISMATCH", id="a vertex outside the bounds"),
    pytest.param(overwritten(INDICES, 0, 8), "ACCESSOR_INDEX_OOB", id="ninth vertex of eight"),
    pytest.param(overwritten(INDICES, 0, -1), "ACCESSOR_INDEX_PRIMITIVE_RESTART", id="restart"),
    pytest.param(overwritten(INDICES, 0, 1), "ACCESSOR_INDEX_TRIANGLE_DEGENERATE", id="a vertex twice"),
]


@pytest.mark.parametrize(("data", "code"), VIOLATIONS)
def test_each_violation_in_the_numbers_is_named(data, code):
    assert code in codes(data)


def test_accessors_that_several_primitives_share_are_judged_once():
    broken = overwritten(NORMAL, 0, 0.9)
    primitive = DOCUMENT["meshes"][0]["primitives"][0]
    assert len(check_glb(broken)) == 1
    assert check_glb(changed(meshes__0__primitives=[primitive] * 4)) == []
    assert check_glb(WHOLE) == []


def test_compressed_views_are_said_to_be_unread_and_their_place_is_checked():
    packed = {
        "buffer": 0,
        "byteOffset": 0,
        "byteLength": 96,
        "byteStride": 12,
        "count": 8,
        "mode": "ATTRIBUTES",
    }
    name = "EXT_meshopt_compression"
    inside = changed(
        **{f"bufferViews__{POSITION_VIEW}__extensions": {name: packed}, "extensionsUsed": [name]}
    )
    assert codes(inside) == {"COMPRESSED_NOT_DECODED"}
    packed["byteLength"] = 10**9
    outside = changed(
        **{f"bufferViews__{POSITION_VIEW}__extensions": {name: packed}, "extensionsUsed": [name]}
    )
    assert "BUFFER_VIEW_TOO_LONG" in codes(outside)


@pytest.mark.parametrize(
    ("packed", "code"),
    [
        ({"bufferView": 0, "attributes": {"POSITION": 0}}, "COMPRESSED_NOT_DECODED"),
        ({"bufferView": 99, "attributes": {"POSITION": 0}}, "UNRESOLVED_REFERENCE"),
        ({"bufferView": 0, "attributes": {}}, "EMPTY_ENTITY"),
        ([], "UNRESOLVED_REFERENCE"),
    ],
)
def test_draco_is_said_to_be_unread_and_its_place_is_checked(packed, code):
    name = "KHR_draco_mesh_compression"
    assert codes(changed(meshes__0__primitives__0__extensions={name: packed}, extensionsUsed=[name])) == {
        code
    }
