"""GLB files: what goes in comes out, and hostile files end in `BrokenModelOutput`."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.glb import decode_glb, encode_glb, read_document
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d_tests.pictures import draw, encode


def cube(**more) -> TexturedMesh:
    box = trimesh.creation.box()
    vertices = np.asarray(box.vertices, np.float32) + np.float32(0.5)
    normals = np.asarray(box.vertex_normals, np.float32)
    uvs = np.clip(vertices[:, :2], 0, 1).astype(np.float32)
    texture = encode(draw("apple", "plain", size=64).rgb, "JPEG")
    parts = {"normals": normals, "uvs": uvs, "texture": texture} | more
    return TexturedMesh(vertices=vertices, faces=np.asarray(box.faces, np.int32), **parts)


def repack(document: dict, content: bytes) -> bytes:
    """A GLB with this JSON and this binary chunk, however wrong they are."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<III", 0x46546C67, 2, 28 + len(text) + len(content))
    return (
        head
        + struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(content), 0x004E4942)
        + content
    )


WHOLE = encode_glb(cube(), name="cube", extras={"seed": 7})
CONTENT = WHOLE[20 + struct.unpack_from("<I", WHOLE, 12)[0] + 8 :]


def changed(path: str, value: object) -> bytes:
    """The cube with one entry of its JSON set to something else, or removed where the value is ..."""
    document = read_document(WHOLE)
    *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = document
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return repack(document, CONTENT)


@pytest.mark.parametrize(
    "mesh",
    [
        pytest.param(cube(), id="textured"),
        pytest.param(cube(texture=None, uvs=None), id="plain"),
        pytest.param(cube(normals=None, texture=None, uvs=None), id="positions only"),
        pytest.param(
            cube(texture=None, uvs=None, colours=np.arange(32, dtype=np.uint8).reshape(8, 4)),
            id="vertex colours",
        ),
    ],
)
def test_a_mesh_survives_the_round_trip(mesh):
    back = decode_glb(encode_glb(mesh, name="thing"))
    for name in ("vertices", "faces", "normals", "uvs", "colours"):
        before, after = getattr(mesh, name), getattr(back, name)
        assert (before is None) == (after is None)
        assert before is None or np.array_equal(before, after)
    assert back.texture == mesh.texture


def test_equal_meshes_give_equal_bytes():
    assert encode_glb(cube(), name="cube", extras={"seed": 7}) == WHOLE


def test_the_file_says_what_it_is_and_how_it_shines():
    document = read_document(WHOLE)
    material = document["materials"][0]["pbrMetallicRoughness"]
    assert document["asset"]["version"] == "2.0"
    assert document["asset"]["extras"] == {"seed": 7}
    assert material["metallicFactor"] == 0
    assert material["roughnessFactor"] == pytest.approx(0.85)
    assert document["accessors"][0]["max"] == [1, 1, 1]


def test_trimesh_reads_the_file_as_a_closed_textured_solid():
    mesh = trimesh.load(io.BytesIO(WHOLE), file_type="glb", force="mesh")
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(1)
    assert mesh.visual.material.baseColorTexture.size == (64, 64)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"glTF", id="only a name"),
        pytest.param(b"\0" * 64, id="zeros"),
        pytest.param(WHOLE[:-1], id="cut short"),
        pytest.param(WHOLE + b"\0", id="too long"),
        pytest.param(b"glTF" + struct.pack("<I", 1) + WHOLE[8:], id="version 1"),
        pytest.param(repack([], CONTENT), id="JSON is a list"),
        pytest.param(repack({}, CONTENT), id="no mesh"),
        pytest.param(changed("meshes/0/primitives", []), id="no primitive"),
        pytest.param(changed("meshes/0/primitives/0/mode", 1), id="lines"),
        pytest.param(changed("meshes/0/primitives/0/attributes/POSITION", ...), id="no positions"),
        pytest.param(changed("meshes/0/primitives/0/attributes/POSITION", 99), id="accessor beyond the list"),
        pytest.param(changed("meshes/0/primitives/0/attributes/POSITION", -1), id="negative accessor"),
        pytest.param(changed("meshes/0/primitives/0/attributes/POSITION", "0"), id="accessor is text"),
        pytest.param(changed("accessors/0/count", 10**9), id="a billion vertices"),
        pytest.param(changed("accessors/0/count", -5), id="negative count"),
        pytest.param(changed("accessors/0/type", "VEC4"), id="positions of four"),
        pytest.param(changed("accessors/0/componentType", 5125), id="positions as integers"),
        pytest.param(changed("accessors/0/componentType", 7), id="unknown component type"),
        pytest.param(changed("accessors/0/bufferView", None), id="no buffer view"),
        pytest.param(changed("accessors/1/count", 3), id="fewer normals than vertices"),
        pytest.param(changed("bufferViews/0/byteOffset", 10**9), id="view beyond the file"),
        pytest.param(changed("bufferViews/0/byteLength", 4), id="view shorter than its data"),
        pytest.param(changed("bufferViews/0/byteOffset", -4), id="view before the file"),
        pytest.param(changed("bufferViews/0/byteStride", 16), id="interleaved"),
        pytest.param(changed("nodes/0/scale", [2, 2, 2]), id="transformed node"),
        pytest.param(changed("images/0", {"uri": "http://example.org/a.jpg"}), id="texture elsewhere"),
        pytest.param(repack(read_document(WHOLE), b"\xff" * len(CONTENT)), id="indices beyond the vertices"),
    ],
)
def test_files_that_lie_are_broken_model_output(data):
    with pytest.raises(BrokenModelOutput):
        decode_glb(data)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_mutated_file_is_a_mesh_or_broken(changes):
    damaged = bytearray(WHOLE)
    for place, value in changes:
        damaged[place] = value
    try:
        mesh = decode_glb(bytes(damaged))
    except BrokenModelOutput:
        return
    assert mesh.faces.max() < len(mesh.vertices)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(WHOLE)))
def test_a_file_cut_anywhere_is_broken(length):
    if length == len(WHOLE):
        return
    with pytest.raises(BrokenModelOutput):
        decode_glb(WHOLE[:length])
