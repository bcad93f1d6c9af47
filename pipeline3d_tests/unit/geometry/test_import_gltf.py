"""Strangers' glTF: what exporters write is read as it is meant, what lies is refused with its code."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.gltf_container import unpack
from pipeline3d.geometry.import_gltf import read_glb, read_gltf
from pipeline3d.geometry.import_limits import LIMITS, ImportLimits
from pipeline3d.geometry.mesh import MATT, Model
from pipeline3d.geometry.refusals import HINTS
from pipeline3d.geometry.web import compress
from pipeline3d_tests.awkward_meshes import build
from pipeline3d_tests.strange_gltf import (
    SQUARE,
    SQUARE_FACES,
    SQUARE_UVS,
    Strange,
    huge_png,
    packed,
    picture,
)


def read(strange: Strange, limits: ImportLimits = LIMITS) -> Model:
    return read_glb(strange.glb(), limits, [])


def area_normal(model: Model) -> np.ndarray:
    """The sum of the faces' normals times their areas."""
    surface = model.surface()
    a, b, c = (surface.vertices[surface.faces[:, corner]].astype(np.float64) for corner in range(3))
    return np.cross(b - a, c - a).sum(axis=0) / 2


def test_a_self_contained_gltf_is_the_same_model_as_its_glb():
    strange = Strange().textured()
    one, other = read(strange), read_gltf(strange.gltf(), LIMITS, [])
    assert np.array_equal(one.surface().vertices, other.surface().vertices)
    assert one.parts[0].texture == other.parts[0].texture == picture()


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"translation": [5, 0, 0]}, SQUARE + (5, 0, 0)),
        ({"scale": [2, 3, 1]}, SQUARE * (2, 3, 1)),
        (
            {"rotation": [0, 0, math.sin(math.pi / 4), math.cos(math.pi / 4)]},
            SQUARE[:, [1, 0, 2]] * (-1, 1, 1),
        ),
        ({"matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 7, 8, 9, 1]}, SQUARE + (7, 8, 9)),
        # translation after rotation after scale
        ({"translation": [1, 0, 0], "scale": [2, 2, 2]}, SQUARE * 2 + (1, 0, 0)),
    ],
)
def test_a_node_moves_its_mesh(node, expected):
    model = read(Strange().square().changed("nodes/0", {"mesh": 0} | node))
    assert np.allclose(model.surface().vertices, expected, atol=1e-6)


def test_a_child_is_moved_by_all_nodes_above_it():
    strange = Strange().square()
    strange.document["nodes"] = [
        {"children": [1], "translation": [10, 0, 0]},
        {"children": [2], "scale": [2, 2, 2]},
        {"mesh": 0, "translation": [1, 0, 0]},
    ]
    assert np.allclose(read(strange).surface().vertices.min(axis=0), (12, 0, 0))


def test_a_mirroring_node_leaves_the_outside_outside():
    strange = Strange()
    normals = strange.array(np.tile(np.array([[0, 0, 1]], np.float32), (4, 1)))
    strange.square()
    strange.document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = normals
    strange.document["nodes"][0]["scale"] = [-1, 1, 1]
    model = read(strange)
    assert np.allclose(area_normal(model), (0, 0, 1))
    assert np.allclose(model.parts[0].normals, (0, 0, 1))


def test_normals_stay_upright_under_uneven_scale():
    strange = Strange()
    slope = np.tile(np.array([[math.sqrt(0.5), math.sqrt(0.5), 0]], np.float32), (4, 1))
    normals = strange.array(slope)
    strange.square().document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = normals
    strange.document["nodes"][0]["scale"] = [2, 1, 1]
    assert np.allclose(read(strange).parts[0].normals, np.array((1, 2, 0)) / math.sqrt(5), atol=1e-5)


@pytest.mark.parametrize(("mode", "order"), [(5, [0, 1, 3, 2]), (6, [0, 1, 2, 3])])
def test_strips_and_fans_are_triangles_that_face_one_way(mode, order):
    strange = Strange()
    indices = strange.array(np.array(order, np.uint8))
    strange.square(indices=indices, mode=mode)
    model = read(strange)
    assert model.face_count == 2
    assert np.allclose(area_normal(model), (0, 0, 1))


def test_a_mesh_without_indices_takes_its_vertices_three_by_three():
    strange = Strange()
    corners = strange.array(SQUARE[SQUARE_FACES])
    strange.document["meshes"][0]["primitives"] = [{"attributes": {"POSITION": corners}}]
    assert np.allclose(area_normal(read(strange)), (0, 0, 1))


def test_interleaved_attributes_are_taken_apart():
    strange = Strange()
    rows = np.column_stack([SQUARE, SQUARE_UVS]).astype(np.float32)
    view = strange.view(rows.tobytes(), byteStride=20)
    strange.square()
    for name, kind, offset in (("POSITION", "VEC3", 0), ("TEXCOORD_0", "VEC2", 12)):
        strange.document["accessors"].append(
            {"bufferView": view, "byteOffset": offset, "componentType": 5126, "count": 4, "type": kind}
        )
        number = len(strange.document["accessors"]) - 1
        strange.document["meshes"][0]["primitives"][0]["attributes"][name] = number
    part = read(strange).parts[0]
    assert np.array_equal(part.vertices, SQUARE)
    assert np.array_equal(part.uvs, SQUARE_UVS)


def test_a_sparse_accessor_replaces_single_values():
    strange = Strange().square()
    places = strange.view(np.array([2], np.uint8).tobytes())
    values = strange.view(np.array([(1, 1, 5)], np.float32).tobytes())
    strange.document["accessors"][0]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": places, "componentType": 5121},
        "values": {"bufferView": values},
    }
    assert read(strange).surface().vertices[2].tolist() == [1, 1, 5]


def test_quantised_positions_and_coordinates_are_scaled_back():
    strange = Strange()
    positions = strange.array(np.round(SQUARE * 32767).astype(np.int16), normalized=True)
    uvs = strange.array(np.round(SQUARE_UVS * 65535).astype(np.uint16), normalized=True)
    faces = strange.array(SQUARE_FACES)
    strange.document |= {"extensionsRequired": ["KHR_mesh_quantization"]}
    strange.document["meshes"][0]["primitives"] = [
        {"attributes": {"POSITION": positions, "TEXCOORD_0": uvs}, "indices": faces}
    ]
    part = read(strange).parts[0]
    assert np.allclose(part.vertices, SQUARE)
    assert np.allclose(part.uvs, SQUARE_UVS)


@pytest.mark.parametrize(
    ("colours", "more"),
    [
        (np.tile(np.array([[1.0, 0.5, 0.0]], np.float32), (4, 1)), {}),
        (np.tile(np.array([[65535, 32768, 0, 65535]], np.uint16), (4, 1)), {"normalized": True}),
        (np.tile(np.array([[255, 128, 0, 255]], np.uint8), (4, 1)), {"normalized": True}),
    ],
)
def test_vertex_colours_of_every_kind_become_bytes(colours, more):
    strange = Strange()
    number = strange.array(colours, **more)
    strange.square().document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = number
    assert read(strange).parts[0].colours[0].tolist() == [255, 128, 0, 255]


def test_every_map_and_factor_of_a_material_is_kept():
    strange = Strange().textured()
    views = [strange.view(picture(colour=(n, n, n))) for n in (1, 2, 3, 4)]
    strange.document["images"] += [{"bufferView": view, "mimeType": "image/png"} for view in views]
    strange.document["textures"] = [{"source": n, "sampler": 0} for n in range(5)]
    strange.document["samplers"] = [{"wrapS": 33648, "wrapT": 33648}]
    strange.document["materials"] = [
        {
            "name": "all",
            "pbrMetallicRoughness": {
                "baseColorFactor": [0.1, 0.2, 0.3, 0.4],
                "baseColorTexture": {"index": 0},
                "metallicFactor": 0.25,
                "roughnessFactor": 0.75,
                "metallicRoughnessTexture": {"index": 1},
            },
            "normalTexture": {"index": 2, "scale": 0.5},
            "occlusionTexture": {"index": 3, "strength": 0.6},
            "emissiveTexture": {"index": 4},
            "emissiveFactor": [1, 0.5, 0],
            "extensions": {"KHR_materials_emissive_strength": {"emissiveStrength": 4}},
            "alphaMode": "MASK",
            "alphaCutoff": 0.3,
            "doubleSided": True,
        }
    ]
    part = read(strange).parts[0]
    material = part.material
    assert part.texture == picture()
    maps = (material.metallic_roughness, material.normal, material.occlusion, material.emissive)
    assert [found.data for found in maps] == [picture(colour=(n, n, n)) for n in (1, 2, 3, 4)]
    assert (material.metallic, material.roughness, material.normal_scale) == (0.25, 0.75, 0.5)
    assert (material.occlusion_strength, material.alpha_cutoff) == (0.6, 0.3)
    assert (material.base_colour, material.emissive_colour) == ((0.1, 0.2, 0.3, 0.4), (4, 2, 0))
    assert (material.name, material.alpha_mode, material.double_sided) == ("all", "MASK", True)
    assert material.wrap == "mirror"


def test_what_is_not_said_of_a_material_is_the_formats_default():
    material = read(Strange().textured()).parts[0].material
    assert (material.metallic, material.roughness, material.wrap) == (1.0, 1.0, "repeat")


def test_a_mesh_without_a_material_is_matt():
    assert read(Strange().square()).parts[0].material == MATT


def test_old_specular_materials_become_ours():
    strange = Strange().textured()
    strange.document["materials"] = [
        {
            "extensions": {
                "KHR_materials_pbrSpecularGlossiness": {
                    "diffuseFactor": [0.5, 0.5, 0.5, 1],
                    "specularFactor": [0.04, 0.04, 0.04],
                    "glossinessFactor": 0.25,
                    "diffuseTexture": {"index": 0},
                }
            }
        }
    ]
    part = read(strange).parts[0]
    assert part.texture == picture()
    assert part.material.base_colour == (0.5, 0.5, 0.5, 1)
    assert (part.material.metallic, part.material.roughness) == (0, 0.75)


def test_a_texture_transform_is_applied_to_the_coordinates():
    moved = {"KHR_texture_transform": {"offset": [0.5, 0.25], "scale": [2, 4]}}
    part = read(Strange().textured(extensions=moved)).parts[0]
    assert np.allclose(part.uvs, SQUARE_UVS * (2, 4) + (0.5, 0.25))


def test_a_texture_transform_turns_the_coordinates_counter_clockwise():
    turned = {"KHR_texture_transform": {"rotation": math.pi / 2}}
    part = read(Strange().textured(extensions=turned)).parts[0]
    assert np.allclose(part.uvs, np.column_stack([SQUARE_UVS[:, 1], -SQUARE_UVS[:, 0]]), atol=1e-6)


def test_a_map_with_other_coordinates_than_the_base_colours_is_left_out_with_a_note():
    strange = Strange().textured()
    strange.document["materials"][0]["occlusionTexture"] = {"index": 0, "texCoord": 1}
    notes: list[str] = []
    part = read_glb(strange.glb(), LIMITS, notes).parts[0]
    assert part.material.occlusion is None
    assert notes == ["The occlusion map of material 'skin' has other texture coordinates."]


def test_the_base_colours_own_coordinates_are_used():
    strange = Strange().textured(texCoord=1)
    other = strange.array(SQUARE_UVS * np.float32(0.5))
    strange.document["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_1"] = other
    assert np.array_equal(read(strange).parts[0].uvs, SQUARE_UVS * np.float32(0.5))


def test_meshes_of_one_material_become_one_part_and_others_stay_apart():
    strange = Strange().textured().square(material=0).square()
    strange.document["nodes"].append({"mesh": 0, "translation": [3, 0, 0]})
    strange.document["scenes"][0]["nodes"] = [0, 1]
    model = read(strange)
    assert [len(part.faces) for part in model.parts] == [8, 4]
    assert model.parts[0].texture is not None


def test_parts_that_share_one_long_array_keep_their_own_vertices_only():
    strange = Strange()
    many = np.random.default_rng(3).random((1000, 3)).astype(np.float32)
    positions = strange.array(many)
    for start in (0, 500):
        faces = strange.array(np.array([start, start + 1, start + 2], np.uint16))
        strange.document["meshes"][0]["primitives"].append(
            {"attributes": {"POSITION": positions}, "indices": faces}
        )
    (part,) = read(strange).parts
    assert np.array_equal(part.vertices, many[[0, 1, 2, 500, 501, 502]])


@pytest.mark.parametrize("name", ["EXT_meshopt_compression", "KHR_meshopt_compression"])
def test_meshopt_is_read_under_either_of_its_names(name):
    data = compress(build("box"), name="box")
    document, content = unpack(data)
    renamed = json.loads(json.dumps(document).replace("EXT_meshopt_compression", name))
    assert read_glb(packed(renamed, bytes(content)), LIMITS, []).face_count == 12


def test_points_and_lines_are_left_out_with_a_note():
    notes: list[str] = []
    model = read_glb(Strange().square().square(mode=1).glb(), LIMITS, notes)
    assert model.face_count == 2
    assert notes == ["Points and lines are left out."]


def cyclic() -> Strange:
    return Strange().square().changed("nodes", [{"mesh": 0, "children": [1]}, {"children": [0]}])


def deep() -> Strange:
    chain = [{"children": [n + 1]} for n in range(5000)]
    return Strange().square().changed("nodes", [*chain, {"mesh": 0}])


def bomb() -> Strange:
    """Ten thousand nodes that show one mesh."""
    strange = Strange().square().changed("nodes", [{"mesh": 0}] * 10_000)
    return strange.changed("scenes/0/nodes", list(range(10_000)))


def with_uri(uri: str) -> Strange:
    return Strange().textured().changed("images/0", {"uri": uri})


def with_vertex(value: float) -> Strange:
    strange = Strange()
    corners = SQUARE.copy()
    corners[1, 1] = value
    positions = strange.array(corners)
    return strange.square().changed("meshes/0/primitives/0/attributes", {"POSITION": positions})


SQUARE_GLB = Strange().square()


@pytest.mark.parametrize(
    ("strange", "code"),
    [
        pytest.param(cyclic(), "broken_model_file", id="nodes in a circle"),
        pytest.param(
            SQUARE_GLB.changed("nodes", [{"children": [0], "mesh": 0}]),
            "broken_model_file",
            id="its own child",
        ),
        pytest.param(SQUARE_GLB.changed("scenes/0/nodes", [0, 0]), "broken_model_file", id="root twice"),
        pytest.param(deep(), "model_too_large", id="5000 nodes deep"),
        pytest.param(bomb(), "model_too_large", id="a mesh shown 10,000 times"),
        pytest.param(SQUARE_GLB.changed("nodes/0/mesh", 7), "broken_model_file", id="mesh that is not there"),
        pytest.param(SQUARE_GLB.changed("nodes/0/mesh", -1), "broken_model_file", id="mesh -1"),
        pytest.param(
            SQUARE_GLB.changed("nodes/0/matrix", [1] * 9), "broken_model_file", id="matrix of nine numbers"
        ),
        pytest.param(
            SQUARE_GLB.changed("nodes/0/scale", [1e200] * 3), "nan_mesh", id="scale beyond any number"
        ),
        pytest.param(SQUARE_GLB.changed("nodes/0/scale", [0, 0, 0]), "empty_mesh", id="scale of nothing"),
        pytest.param(SQUARE_GLB.changed("accessors/0/count", 2**40), "model_too_large", id="2^40 vertices"),
        pytest.param(SQUARE_GLB.changed("accessors/2/count", 3 * 2**30), "model_too_large", id="2^30 faces"),
        pytest.param(SQUARE_GLB.changed("accessors/0/count", 5), "broken_model_file", id="a vertex too many"),
        pytest.param(SQUARE_GLB.changed("accessors/0/count", 2.5), "broken_model_file", id="2.5 vertices"),
        pytest.param(SQUARE_GLB.changed("accessors/0/count", True), "broken_model_file", id="true vertices"),
        pytest.param(
            SQUARE_GLB.changed("accessors/0/byteOffset", -12), "broken_model_file", id="negative offset"
        ),
        pytest.param(
            SQUARE_GLB.changed("bufferViews/0/byteLength", 2**62), "broken_model_file", id="endless view"
        ),
        pytest.param(
            SQUARE_GLB.changed("bufferViews/0/byteStride", 4), "broken_model_file", id="small stride"
        ),
        pytest.param(SQUARE_GLB.changed("bufferViews/0/byteStride", 0), "broken_model_file", id="no stride"),
        pytest.param(
            SQUARE_GLB.changed("bufferViews/0/byteStride", 2**40), "broken_model_file", id="huge stride"
        ),
        pytest.param(SQUARE_GLB.changed("bufferViews/0/buffer", 3), "broken_model_file", id="no such buffer"),
        pytest.param(
            SQUARE_GLB.changed(
                "accessors/0/sparse",
                {
                    "count": 1,
                    "indices": {"bufferView": 2, "byteOffset": 2, "componentType": 5123},
                    "values": {"bufferView": 99},
                },
            ),
            "broken_model_file",
            id="sparse values that are not there",
        ),
        pytest.param(
            SQUARE_GLB.changed(
                "accessors/1/sparse",
                {
                    "count": 1,
                    "indices": {"bufferView": 0, "byteOffset": 12, "componentType": 5125},
                    "values": {"bufferView": 0},
                },
            ),
            "broken_model_file",
            id="sparse write outside",
        ),
        pytest.param(
            SQUARE_GLB.changed("accessors/2/componentType", 5126), "broken_model_file", id="float faces"
        ),
        pytest.param(SQUARE_GLB.changed("accessors/2/count", 5), "broken_model_file", id="five indices"),
        pytest.param(SQUARE_GLB.changed("accessors/2/count", 0), "broken_model_file", id="no indices"),
        pytest.param(SQUARE_GLB.changed("accessors/1/count", 3), "broken_model_file", id="coordinates lack"),
        pytest.param(
            SQUARE_GLB.changed("buffers", [{"byteLength": 10**12}]),
            "broken_model_file",
            id="buffer too short",
        ),
        pytest.param(
            SQUARE_GLB.changed("buffers", [{"byteLength": 9, "uri": "../../etc/passwd"}]),
            "external_reference",
            id="buffer in a file",
        ),
        pytest.param(with_uri("../secret.png"), "external_reference", id="picture above"),
        pytest.param(with_uri("/etc/passwd"), "external_reference", id="absolute path"),
        pytest.param(with_uri("file:///etc/passwd"), "external_reference", id="file URI"),
        pytest.param(with_uri("http://169.254.169.254/x.png"), "external_reference", id="http"),
        pytest.param(with_uri("HTTPS://example.org/x.png"), "external_reference", id="https"),
        pytest.param(with_uri("//example.org/x.png"), "external_reference", id="any protocol"),
        pytest.param(with_uri("data:image/png;base64,@@@"), "broken_model_file", id="damaged data URI"),
        pytest.param(with_uri("data:image/png,abc"), "broken_model_file", id="data URI of text"),
        pytest.param(with_vertex(math.nan), "nan_mesh", id="a NaN"),
        pytest.param(with_vertex(math.inf), "nan_mesh", id="infinity"),
        pytest.param(with_vertex(1e30), "coordinates_out_of_range", id="1e30"),
        pytest.param(Strange(), "empty_mesh", id="no primitive"),
        pytest.param(Strange().square(mode=0), "empty_mesh", id="points only"),
        pytest.param(SQUARE_GLB.changed("asset/version", "1.0"), "unsupported_format", id="version 1"),
        pytest.param(SQUARE_GLB.changed("asset", ...), "broken_model_file", id="no asset"),
        pytest.param(
            SQUARE_GLB.changed("extensionsRequired", ["EXT_mesh_gpu_instancing"]),
            "unsupported_extension",
            id="unknown extension",
        ),
        pytest.param(Strange().textured(picture()[:-20]), "broken_texture", id="picture cut short"),
        pytest.param(
            Strange().textured(b"\xabKTX 20\xbb\r\n\x1a\n" + b"\0" * 80), "unsupported_texture", id="KTX2"
        ),
        pytest.param(Strange().textured(huge_png(20_480)), "texture_too_large", id="20k texture"),
        pytest.param(
            Strange().textured().changed("textures/0", {"extensions": {"KHR_texture_basisu": {"source": 0}}}),
            "unsupported_texture",
            id="basis texture",
        ),
        pytest.param(
            Strange().textured().changed("images", {}), "broken_model_file", id="images are no list"
        ),
        pytest.param(SQUARE_GLB.changed("accessors", "abc"), "broken_model_file", id="accessors are text"),
    ],
)
def test_a_hostile_file_is_refused_with_its_code(strange, code):
    with pytest.raises(UnusableInput) as caught:
        read(strange, ImportLimits(faces=10_000))
    assert caught.value.code == code
    assert caught.value.hint == HINTS[code]


def test_a_large_texture_is_taken_without_being_decoded_and_one_that_nothing_draws_is_refused():
    data = huge_png(13_312)
    assert read(Strange().textured(data)).parts[0].texture == data
    with pytest.raises(UnusableInput) as caught:
        read(Strange().textured(huge_png(16_384)))
    assert caught.value.code == "texture_too_large"


def test_textures_that_are_large_together_are_refused():
    with pytest.raises(UnusableInput) as caught:
        read(Strange().textured(huge_png(2048)), ImportLimits(pictures_total_px=1_000_000))
    assert caught.value.code == "texture_too_large"


WHOLE = Strange().textured()
PLACES = [
    ("accessors", n, key) for n in range(3) for key in ("bufferView", "componentType", "count", "type")
] + [("bufferViews", n, key) for n in range(4) for key in ("buffer", "byteOffset", "byteLength")]
VALUES = st.one_of(
    st.integers(-(2**70), 2**70), st.integers(0, 6), st.none(), st.booleans(), st.text(max_size=3),
    st.floats(), st.lists(st.integers(0, 3), max_size=2), st.just({}),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_wrong_entry_is_refused_or_harmless(changes):
    document = copy.deepcopy(WHOLE.document)
    document["buffers"] = [{"byteLength": len(WHOLE.content)}]
    for (kind, number, key), value in changes:
        document[kind][number][key] = value
    _read_or_refuse(packed(document, WHOLE.content))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(WHOLE.document)), VALUES)
def test_any_wrong_list_is_refused_or_harmless(key, value):
    _read_or_refuse(
        packed(WHOLE.document | {"buffers": [{"byteLength": len(WHOLE.content)}], key: value}, WHOLE.content)
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_file_is_refused_or_read(changes):
    data = bytearray(WHOLE.glb())
    for place, value in changes:
        data[int(place * len(data))] = value
    _read_or_refuse(bytes(data))


def _read_or_refuse(data: bytes) -> None:
    try:
        model = read_glb(data, LIMITS, [])
    except UnusableInput as error:
        code = error.code
    else:
        code = None
    if code is not None:
        assert code in HINTS
        return
    surface = model.surface()
    assert np.isfinite(surface.vertices).all()
    assert 0 <= surface.faces.min() <= surface.faces.max() < len(surface.vertices)


@pytest.mark.parametrize("key", ["metallicFactor", "roughnessFactor", "baseColorFactor"])
def test_a_factor_that_no_number_holds_is_refused(key):
    """JSON has no infinity, but 1e999 becomes one."""
    strange = Strange().textured()
    value = [0.5, 0.5, 0.5, 123456] if key == "baseColorFactor" else 123456
    strange.document["materials"][0]["pbrMetallicRoughness"][key] = value
    with pytest.raises(UnusableInput) as caught:
        read_gltf(strange.gltf().replace(b"123456", b"1e999"), LIMITS, [])
    assert caught.value.code == "broken_model_file"


def test_a_gltf_that_is_no_json_is_refused():
    for text in (b"", b"{", b"[]", b'{"asset": NaN}', b"[" * 100_000, json.dumps({}).encode()):
        with pytest.raises(UnusableInput) as caught:
            read_gltf(text, LIMITS, [])
        assert caught.value.code == "broken_model_file"
