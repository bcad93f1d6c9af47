"""What is written is valid, says everything once, and comes back as it went in."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.glb import decode_model, encode_model, read_document
from pipeline3d.geometry.mesh import MATT, Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.structure_check import check_glb
from pipeline3d_tests.awkward_meshes import textured_sphere
from pipeline3d_tests.strange_gltf import picture

PNG = Texture(data=picture(), mime_type="image/png")
JPEG = Texture(data=picture("JPEG"), mime_type="image/jpeg")
WEBP = Texture(data=picture("WEBP"), mime_type="image/webp")
BALL = textured_sphere()
RICH = Material(
    name="rich",
    base_colour=(0.1, 0.2, 0.3, 0.4),
    metallic=0.5,
    roughness=0.25,
    emissive_colour=(0.5, 2.0, 0.0),
    metallic_roughness=PNG,
    normal=JPEG,
    normal_scale=0.5,
    occlusion=PNG,
    occlusion_strength=0.75,
    emissive=WEBP,
    alpha_mode="MASK",
    alpha_cutoff=0.25,
    double_sided=True,
    wrap="mirror",
)


def with_material(material: Material) -> TexturedMesh:
    return replace(BALL, material=material)


def errors_in(data: bytes) -> list[str]:
    return [str(found) for found in check_glb(data) if found.severity == "error"]


def test_every_map_and_factor_comes_back():
    parts = (with_material(RICH), with_material(replace(MATT, alpha_mode="BLEND", wrap="repeat")), BALL)
    data = encode_model(Model(parts=parts), name="three")
    assert [part.material for part in decode_model(data).parts] == [part.material for part in parts]
    assert errors_in(data) == []


def test_equal_pictures_samplers_and_materials_are_written_once():
    parts = (with_material(RICH), with_material(RICH), with_material(replace(RICH, name="other")))
    document = read_document(encode_model(Model(parts=parts), name="m"))
    assert len(document["materials"]) == 2
    assert len(document["images"]) == len(document["textures"]) == 4
    assert len(document["samplers"]) == 1
    assert len(document["nodes"]) == len(document["meshes"]) == 1


def test_each_of_thousands_of_parts_names_its_own_material():
    corner = TexturedMesh(vertices=np.eye(3, dtype=np.float32), faces=np.array([[0, 1, 2]], np.int32))
    shades = [n % 3_000 / 3_000 for n in range(4_000)]
    parts = tuple(replace(corner, material=Material(roughness=shade)) for shade in shades)
    document = read_document(encode_model(Model(parts=parts), name="m"))
    assert len(document["materials"]) == 3_000
    for primitive, shade in zip(document["meshes"][0]["primitives"], shades, strict=True):
        material = document["materials"][primitive["material"]]
        assert material["pbrMetallicRoughness"]["roughnessFactor"] == shade


def test_equal_models_give_equal_bytes():
    model = Model(parts=(with_material(RICH), BALL))
    extras = {"seed": 7, "licence": "CC0"}
    turned = dict(reversed(extras.items()))
    assert encode_model(model, name="m", extras=extras) == encode_model(model, name="m", extras=turned)


def test_the_origin_is_in_the_asset():
    extras = {"model": "inflate", "seed": 7, "parameters": {"size_m": 0.5}}
    document = read_document(encode_model(Model(parts=(BALL,)), name="m", extras=extras))
    assert document["asset"]["extras"] == extras


def test_nothing_that_is_not_used_is_written():
    plain = replace(BALL, texture=None)
    document = read_document(encode_model(Model(parts=(plain,)), name="m"))
    assert set(document["meshes"][0]["primitives"][0]["attributes"]) == {"POSITION", "NORMAL"}
    assert not {"images", "textures", "samplers", "extensionsUsed"} & set(document)


def test_maps_without_coordinates_are_left_out():
    document = read_document(encode_model(Model(parts=(replace(with_material(RICH), uvs=None),)), name="m"))
    assert "images" not in document
    assert "normalTexture" not in document["materials"][0]


def test_webp_says_that_it_needs_its_extension():
    document = read_document(encode_model(Model(parts=(with_material(RICH),)), name="m"))
    assert document["extensionsRequired"] == ["EXT_texture_webp"]
    assert document["extensionsUsed"] == ["EXT_texture_webp", "KHR_materials_emissive_strength"]


def test_normals_are_of_length_one_and_those_of_none_point_up():
    normals = BALL.normals * np.float32(3)
    normals[0] = 0
    data = encode_model(Model(parts=(replace(BALL, normals=normals),)), name="m")
    found = decode_model(data).parts[0].normals
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert found[0].tolist() == [0, 1, 0]
    assert errors_in(data) == []


def test_indices_have_two_bytes_where_they_fit():
    many = np.zeros((65_536, 3), np.float32)
    many[:, 0] = np.arange(65_536)
    faces = np.array([(0, 1, 65_534)], np.int32)
    for count, component in ((65_535, 5123), (65_536, 5125)):
        part = TexturedMesh(vertices=many[:count], faces=faces)
        document = read_document(encode_model(Model(parts=(part,)), name="m"))
        assert document["accessors"][-1]["componentType"] == component


BAD = np.array([(np.nan, 0, 0), (1, 0, 0), (0, 1, 0)], np.float32)
GOOD = np.nan_to_num(BAD)
FACE = np.array([(0, 1, 2)], np.int32)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (TexturedMesh(vertices=GOOD, faces=np.empty((0, 3), np.int32)), "empty_mesh"),
        (TexturedMesh(vertices=BAD, faces=FACE), "nan_mesh"),
        (TexturedMesh(vertices=GOOD, faces=FACE, normals=BAD), "nan_mesh"),
        (TexturedMesh(vertices=GOOD, faces=FACE, uvs=BAD[:, :2]), "nan_mesh"),
        (TexturedMesh(vertices=GOOD, faces=FACE + 1), "broken_mesh"),
        (TexturedMesh(vertices=GOOD, faces=FACE - 1), "broken_mesh"),
        (TexturedMesh(vertices=GOOD, faces=FACE, normals=GOOD[:2]), "broken_mesh"),
        (TexturedMesh(vertices=GOOD, faces=FACE, colours=np.zeros((2, 4), np.uint8)), "broken_mesh"),
    ],
)
def test_what_is_no_mesh_is_not_written(part, code):
    with pytest.raises(BrokenModelOutput) as caught:
        encode_model(Model(parts=(part,)), name="m")
    assert caught.value.code == code


def test_extras_that_are_no_json_are_not_written():
    with pytest.raises(ValueError, match="JSON"):
        encode_model(Model(parts=(BALL,)), name="m", extras={"score": float("nan")})


SHARES = st.floats(0, 1, width=32)
MATERIALS = st.builds(
    Material,
    name=st.text(max_size=4),
    base_colour=st.tuples(SHARES, SHARES, SHARES, SHARES),
    metallic=SHARES,
    roughness=SHARES,
    emissive_colour=st.sampled_from([(0.0, 0.0, 0.0), (0.5, 0.25, 1.0), (8.0, 0.0, 4.0)]),
    metallic_roughness=st.sampled_from([None, PNG, WEBP]),
    normal=st.sampled_from([None, PNG, JPEG]),
    occlusion=st.sampled_from([None, PNG]),
    emissive=st.sampled_from([None, JPEG]),
    alpha_mode=st.sampled_from(["OPAQUE", "MASK", "BLEND"]),
    double_sided=st.booleans(),
    wrap=st.sampled_from(["clamp", "repeat", "mirror"]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(MATERIALS, min_size=1, max_size=3))
def test_any_materials_are_written_validly_and_come_back(materials):
    model = Model(parts=tuple(with_material(material) for material in materials))
    data = encode_model(model, name="m")
    assert errors_in(data) == []
    assert json.loads(json.dumps(read_document(data))) == read_document(data)
    for material, part in zip(materials, decode_model(data).parts, strict=True):
        assert part.texture == BALL.texture
        assert part.material.name == material.name
        for name in ("metallic_roughness", "normal", "occlusion", "emissive", "alpha_mode", "wrap"):
            assert getattr(part.material, name) == getattr(material, name)
        assert part.material.base_colour == pytest.approx(material.base_colour)
        assert part.material.emissive_colour == pytest.approx(material.emissive_colour)
