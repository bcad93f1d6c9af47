"""The wrappers' own look at a GLB: whatever is in the file, it is counted or refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry.glb import decode_glb, read_document
from pipeline3d_tests.unit.wrappers.modules import wrapper_module

glb = wrapper_module("glb")
Failure = wrapper_module("protocol").Failure


def ball(**more) -> bytes:
    mesh = trimesh.creation.icosphere(2)
    mesh.visual.vertex_colors = np.tile([200, 100, 50, 255], (len(mesh.vertices), 1))
    return mesh.export(file_type="glb", **more)


WHOLE = ball()


def test_a_real_exporters_file_is_counted():
    assert glb.check(WHOLE) == {"vertices": 162, "faces": 320}


def test_a_real_exporters_empty_file_is_an_empty_output():
    """172 bytes, which upstream leaves behind with exit code 0."""
    content = trimesh.Trimesh().export(file_type="glb")
    assert len(content) == 172
    with pytest.raises(Failure) as refused:
        glb.check(content)
    assert refused.value.code == "empty_output"


def test_a_mended_file_has_one_plain_node_and_turned_bounds():
    document, content = glb.unpack(ball())
    document["nodes"] = [{"name": "world", "children": [1], "matrix": glb.IDENTITY}, {"mesh": 0}]
    mended = glb.mend(glb.pack(document, content), None, srgb_colours=False)
    assert read_document(mended)["nodes"] == [{"mesh": 0}]
    assert len(decode_glb(mended).faces) == 320


def test_a_node_that_moves_its_mesh_is_left_alone():
    document, content = glb.unpack(ball())
    document["nodes"] = [{"children": [1], "scale": [2, 2, 2]}, {"mesh": 0}]
    mended = glb.mend(glb.pack(document, content), None, srgb_colours=False)
    assert read_document(mended)["nodes"] == document["nodes"]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_counted_or_refused_and_never_anything_else(data):
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    whole = bytes(damaged[:cut]) if data.draw(st.booleans()) else bytes(damaged)
    try:
        glb.check(glb.mend(whole, lambda values: values, srgb_colours=True))
        refused = None
    except Failure as failure:
        refused = failure.code
    assert refused in (None, "broken_output", "empty_output")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**12) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    ("meshes",),
    ("meshes", 0),
    ("meshes", 0, "primitives"),
    ("meshes", 0, "primitives", 0),
    ("meshes", 0, "primitives", 0, "attributes"),
    ("meshes", 0, "primitives", 0, "indices"),
    ("accessors",),
    ("accessors", 0),
    ("accessors", 1, "count"),
    ("accessors", 1, "type"),
    ("accessors", 1, "componentType"),
    ("bufferViews", 0),
    ("bufferViews", 1, "byteOffset"),
    ("nodes",),
    ("materials",),
]


@given(st.sampled_from(PLACES), JSON_VALUES)
@settings(max_examples=300, deadline=None)
def test_a_description_that_lies_is_refused_or_without_effect(place, value):
    document, content = glb.unpack(WHOLE)
    *way, last = place
    at = document
    for step in way:
        at = at[step]
    at[last] = value
    whole = glb.pack(document, content)
    try:
        glb.check(whole)
        glb.check(glb.mend(whole, None, srgb_colours=True))
        refused = None
    except Failure as failure:
        refused = failure.code
    assert refused in (None, "broken_output", "empty_output")


def test_the_material_is_matt_and_colours_are_linear():
    mended = glb.mend(WHOLE, None, srgb_colours=True)
    assert decode_glb(mended).colours[0].tolist() == [147, 32, 8, 255]
    material = read_document(mended)["materials"][0]["pbrMetallicRoughness"]
    assert material == {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    assert trimesh.load(io.BytesIO(mended), file_type="glb").geometry


def test_a_file_beyond_all_measure_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "huge.glb"
    path.write_bytes(struct.pack("<III", glb.MAGIC, 2, 5000) + b"\0" * 4988)
    monkeypatch.setattr(glb, "MAX_FILE_BYTES", 1000)
    with pytest.raises(Failure) as refused:
        glb.check_file(str(path))
    assert refused.value.code == "broken_output"
