"""The structural check: silent about what we write, and exact about each thing that is wrong."""

from __future__ import annotations

import copy
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry.complaints import MOST_COMPLAINTS
from pipeline3d.geometry.glb import encode_glb, encode_model
from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.structure_check import check_glb
from pipeline3d_tests.broken_glbs import CONTENT, DOCUMENT, WHOLE, changed, cube, packed
from pipeline3d_tests.pictures import draw, encode


def codes(data: bytes) -> set[str]:
    return {complaint.code for complaint in check_glb(data)}


@pytest.mark.parametrize(
    "mesh",
    [
        pytest.param(cube(), id="textured"),
        pytest.param(cube(normals=None, uvs=None, texture=None), id="positions only"),
        pytest.param(cube(texture=None, uvs=None, colours=np.full((8, 4), 9, np.uint8)), id="colours"),
        pytest.param(
            cube(texture=encode(draw("apple", "plain", size=16).rgb, "PNG"), texture_mime_type="image/png"),
            id="PNG",
        ),
    ],
)
def test_what_we_write_is_clean(mesh):
    assert check_glb(encode_glb(mesh, name="thing", extras={"seed": 7})) == []


def test_a_model_of_several_parts_with_every_map_is_clean():
    png = Texture(data=encode(draw("apple", "plain", size=16).rgb, "PNG"), mime_type="image/png")
    every = Material(metallic_roughness=png, normal=png, occlusion=png, emissive=png, alpha_mode="MASK")
    plain = cube(texture=None, uvs=None, normals=None, colours=np.full((8, 4), 9, np.uint8))
    webp = cube(texture=encode(draw("apple", "plain", size=16).rgb, "WEBP"), texture_mime_type="image/webp")
    data = encode_model(Model(parts=(cube(material=every), plain, webp)), name="parts")
    # The one part with a normal map has no tangents, as the writer leaves them to viewers.
    assert [(found.severity, found.code) for found in check_glb(data)] == [
        ("info", "MESH_PRIMITIVE_GENERATED_TANGENT_SPACE")
    ]


@given(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=3, max_size=12),
    st.data(),
)
@settings(max_examples=25, deadline=None)
def test_any_mesh_that_we_write_has_no_error(points, data):
    vertices = np.array(points, np.float32)
    corner = st.integers(0, len(vertices) - 1)
    faces = data.draw(st.lists(st.tuples(corner, corner, corner), min_size=1, max_size=8))
    mesh = TexturedMesh(vertices=vertices, faces=np.array(faces, np.int32))
    assert [c for c in check_glb(encode_glb(mesh, name="any")) if c.severity != "info"] == []


VIOLATIONS = [
    # the container
    pytest.param(b"", "GLB_UNEXPECTED_END_OF_HEADER", id="nothing"),
    pytest.param(b"\0" * 64, "GLB_INVALID_MAGIC", id="zeros"),
    pytest.param(WHOLE[:-1], "GLB_LENGTH_MISMATCH", id="cut short"),
    pytest.param(WHOLE[:16] + b"BIN\0" + WHOLE[20:], "GLB_UNEXPECTED_FIRST_CHUNK", id="binary first"),
    pytest.param(WHOLE[:12] + struct.pack("<I", 1 << 31) + WHOLE[16:], "GLB_CHUNK_TOO_BIG", id="huge chunk"),
    pytest.param(packed(b"{"), "INVALID_JSON", id="half a JSON"),
    pytest.param(packed(b"[" * 100_000), "INVALID_JSON", id="nested JSON"),
    pytest.param(packed(b'{"asset":{"version":"2.0"},"x":NaN}'), "INVALID_JSON", id="NaN in JSON"),
    pytest.param(packed([]), "TYPE_MISMATCH", id="JSON is a list"),
    pytest.param(changed(asset__version="1.0"), "UNKNOWN_ASSET_MAJOR_VERSION", id="glTF 1"),
    pytest.param(packed(DOCUMENT, CONTENT[:-4]), "BUFFER_GLB_CHUNK_TOO_SMALL", id="too little binary"),
    pytest.param(packed(DOCUMENT, CONTENT + bytes(8)), "GLB_CHUNK_TOO_BIG_FOR_BUFFER", id="too much binary"),
    pytest.param(changed(buffers__0__uri="../other.bin"), "EXTERNAL_REFERENCE", id="buffer elsewhere"),
    # references
    pytest.param(changed(scene=7), "UNRESOLVED_REFERENCE", id="no such scene"),
    pytest.param(changed(scenes__0__nodes=[9]), "UNRESOLVED_REFERENCE", id="no such node"),
    pytest.param(changed(nodes__0__mesh=-1), "UNRESOLVED_REFERENCE", id="negative mesh"),
    pytest.param(changed(nodes__0__children=[0]), "NODE_LOOP", id="a node in itself"),
    pytest.param(
        changed(nodes=[{"mesh": 0}, {"children": [2]}, {"children": [1]}]),
        "NODE_LOOP",
        id="nodes in a circle",
    ),
    pytest.param(
        changed(nodes=[{"children": [2]}, {"children": [2]}, {"mesh": 0}]),
        "NODE_PARENT_OVERRIDE",
        id="two parents",
    ),
    pytest.param(
        changed(nodes=[{"mesh": 0}, {"children": [0]}]),
        "SCENE_NON_ROOT_NODE",
        id="a scene of somebody's child",
    ),
    pytest.param(changed(nodes__0__rotation=[0, 0, 0, 2]), "ROTATION_NON_UNIT", id="long quaternion"),
    pytest.param(changed(nodes__0__scale=[1, 1]), "ARRAY_LENGTH_NOT_IN_LIST", id="flat scale"),
    pytest.param(
        changed(nodes__0={"mesh": 0, "matrix": np.eye(4).ravel().tolist(), "scale": [1, 1, 1]}),
        "NODE_MATRIX_TRS",
        id="matrix and scale",
    ),
    pytest.param(changed(meshes__0__primitives=[]), "UNDEFINED_PROPERTY", id="mesh without primitives"),
    pytest.param(
        changed(meshes__0__primitives__0__material=3), "UNRESOLVED_REFERENCE", id="no such material"
    ),
    pytest.param(
        changed(meshes__0__primitives__0__attributes__POSITION=77),
        "UNRESOLVED_REFERENCE",
        id="no such accessor",
    ),
    pytest.param(
        changed(materials__0__pbrMetallicRoughness__baseColorTexture={"index": 4}),
        "UNRESOLVED_REFERENCE",
        id="no such texture",
    ),
    pytest.param(changed(materials__0__alphaMode="GLASS"), "VALUE_NOT_IN_LIST", id="unknown alpha mode"),
    pytest.param(
        changed(materials__0__pbrMetallicRoughness__metallicFactor=2), "VALUE_NOT_IN_RANGE", id="too metallic"
    ),
    pytest.param(changed(materials__0__emissiveFactor=[1, 1]), "VALUE_NOT_IN_RANGE", id="half a colour"),
    pytest.param(
        changed(meshes__0__primitives__0__attributes__TEXCOORD_0=...),
        "MESH_PRIMITIVE_TOO_FEW_TEXCOORDS",
        id="texture without uvs",
    ),
    pytest.param(changed(textures__0__source=1), "UNRESOLVED_REFERENCE", id="no such picture"),
    pytest.param(changed(textures__0__sampler=5), "UNRESOLVED_REFERENCE", id="no such sampler"),
    pytest.param(changed(nodes=3), "TYPE_MISMATCH", id="nodes are a number"),
    pytest.param(changed(materials=["red"]), "TYPE_MISMATCH", id="a material is a word"),
    # pictures
    pytest.param(changed(images__0__mimeType="image/png"), "IMAGE_MIME_TYPE_INVALID", id="a JPEG called PNG"),
    pytest.param(changed(images__0__mimeType="image/gif"), "VALUE_NOT_IN_LIST", id="a GIF"),
    pytest.param(
        changed(images__0__mimeType="image/webp"), "UNDECLARED_EXTENSION", id="WebP without its extension"
    ),
    pytest.param(
        changed(images__0={"uri": "../../etc/passwd"}), "EXTERNAL_REFERENCE", id="picture elsewhere"
    ),
    pytest.param(changed(images__0={}), "ONE_OF_MISMATCH", id="no picture"),
    # extensions
    pytest.param(
        changed(materials__0__extensions={"KHR_materials_unlit": {}}), "UNDECLARED_EXTENSION", id="undeclared"
    ),
    pytest.param(
        changed(extensionsRequired=["KHR_materials_unlit"]), "UNUSED_EXTENSION_REQUIRED", id="required only"
    ),
    pytest.param(changed(extensionsUsed=["KHR_materials_unlit"]), "UNUSED_EXTENSION", id="declared only"),
    pytest.param(changed(extensionsUsed=[]), "EMPTY_ENTITY", id="empty list of extensions"),
    pytest.param(changed(extensionsUsed={"a": 1}), "TYPE_MISMATCH", id="extensions are an object"),
    pytest.param(changed(animations=[{}]), "NOT_CHECKED", id="animations"),
]


@pytest.mark.parametrize(("data", "code"), VIOLATIONS)
def test_each_violation_of_the_structure_is_named(data, code):
    assert code in codes(data)


def test_a_complaint_says_where():
    (complaint,) = check_glb(changed(materials__0__alphaMode="GLASS"))
    assert (complaint.severity, complaint.pointer) == ("error", "/materials/0/alphaMode")
    assert "GLASS" in str(complaint)


def test_a_file_that_is_wrong_everywhere_gives_a_bounded_answer():
    found = check_glb(changed(materials=[{"alphaMode": "GLASS"}] * 10_000))
    assert len(found) == MOST_COMPLAINTS + 1
    assert found[-1].code == "TOO_MANY_COMPLAINTS"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_change_of_the_json_makes_the_check_itself_fail(data):
    document = copy.deepcopy(DOCUMENT)
    places = []
    waiting = [document]
    while waiting:
        item = waiting.pop()
        pairs = item.items() if isinstance(item, dict) else enumerate(item)
        for key, value in pairs:
            places.append((item, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(
        st.sampled_from([None, -1, 10**400, 1e308, True, "x", [], {}, [None], {"a": []}, [[1]], 2**31, 0.5])
    )
    check_glb(packed(document))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_no_wrong_byte_makes_the_check_itself_fail(at, value):
    check_glb(WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :])
