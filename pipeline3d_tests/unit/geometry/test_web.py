"""Web GLBs: small, read back within the stated errors, and laid out as other readers expect them."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipeline3d.errors import BrokenModelOutput, InvalidParameters
from pipeline3d.geometry.glb import encode_model
from pipeline3d.geometry.gltf_container import unpack
from pipeline3d.geometry.mesh import Material, Model, TexturedMesh
from pipeline3d.geometry.quantising import Precision, grid_of
from pipeline3d.geometry.texturing import PNG, read_pixels, write_pixels
from pipeline3d.geometry.web import compress, decompress
from pipeline3d_tests.awkward_meshes import USABLE, build, coloured_torus, textured_sphere
from pipeline3d_tests.pictures import draw

PICTURE = write_pixels(draw("vase", "plain", size=128).rgb, PNG)
BALL: TexturedMesh = replace(
    textured_sphere(rows=60, columns=80), texture=PICTURE.data, texture_mime_type=PICTURE.mime_type
)
CODECS = ("meshopt", "draco")
EXTENSIONS = {
    "meshopt": {"EXT_meshopt_compression", "KHR_mesh_quantization", "EXT_texture_webp"},
    "draco": {"KHR_draco_mesh_compression", "EXT_texture_webp"},
}


def corners_of(part: TexturedMesh) -> np.ndarray:
    """Positions, texture coordinates and normals of every face's corners, (3m, k)."""
    columns = [part.vertices]
    columns += [array for array in (part.uvs, part.normals) if array is not None]
    return np.concatenate([column[part.faces.reshape(-1)] for column in columns], axis=1).astype(np.float64)


@pytest.mark.parametrize("codec", CODECS)
def test_every_corner_is_found_again_within_the_stated_errors(codec):
    model = Model(parts=(BALL,))
    precision = Precision()
    found = decompress(compress(model, codec=codec, name="ball")).parts[0]
    assert len(found.faces) == len(BALL.faces)
    source, written = corners_of(BALL), corners_of(found)
    _, nearest = cKDTree(written[:, :5]).query(source[:, :5])
    apart = np.abs(written[nearest] - source)
    assert apart[:, :3].max() <= grid_of(model, precision.position_bits).error
    assert apart[:, 3:5].max() <= precision.uv_error
    cosines = (written[nearest, 5:] * source[:, 5:]).sum(axis=1)
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() <= precision.normal_error_deg


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", USABLE)
def test_awkward_meshes_keep_their_faces_and_places(name, codec):
    model = build(name)
    found = decompress(compress(model, codec=codec, name=name))
    assert len(found.parts) == len(model.parts)
    if codec == "meshopt":
        assert [len(part.faces) for part in found.parts] == [len(part.faces) for part in model.parts]
    drawn = [part.vertices[np.unique(part.faces)] for part in model.parts]
    error = grid_of(model, 14).error * 1.01
    for before, after in zip(drawn, found.parts, strict=True):
        assert np.abs(before.min(axis=0) - after.vertices.min(axis=0)).max() <= error
        assert np.abs(before.max(axis=0) - after.vertices.max(axis=0)).max() <= error


def test_faces_keep_their_winding_and_neighbours():
    model = Model(parts=(textured_sphere(),))
    found = decompress(compress(model, name="ball")).parts[0]
    corners = found.vertices[found.faces]
    outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((outwards * corners.mean(axis=1)).sum(axis=1) > 0).all()
    assert len(found.vertices) <= len(model.parts[0].vertices)


def test_corners_that_were_split_for_nothing_are_welded():
    corners = replace(
        BALL,
        vertices=BALL.vertices[BALL.faces.reshape(-1)],
        normals=None if BALL.normals is None else BALL.normals[BALL.faces.reshape(-1)],
        uvs=None if BALL.uvs is None else BALL.uvs[BALL.faces.reshape(-1)],
        faces=np.arange(BALL.faces.size, dtype=np.int32).reshape(-1, 3),
    )
    found = decompress(compress(Model(parts=(corners,)), name="ball")).parts[0]
    assert len(found.vertices) <= len(BALL.vertices)


@pytest.mark.parametrize("codec", CODECS)
def test_the_file_is_less_than_two_fifths_of_the_plain_one(codec):
    model = Model(parts=(BALL,))
    assert len(compress(model, codec=codec, name="ball")) < 0.4 * len(encode_model(model, name="ball"))


@pytest.mark.parametrize("codec", CODECS)
def test_equal_models_give_equal_bytes(codec):
    model = Model(parts=(BALL, coloured_torus()))
    assert compress(model, codec=codec, name="a") == compress(copy.deepcopy(model), codec=codec, name="a")


@pytest.mark.parametrize("codec", CODECS)
def test_vertex_colours_and_materials_survive(codec):
    shiny = Material(
        name="gold",
        metallic=1.0,
        roughness=0.2,
        alpha_mode="MASK",
        alpha_cutoff=0.25,
        double_sided=True,
        emissive_colour=(0.5, 0.0, 2.0),
    )
    torus = replace(coloured_torus(), material=shiny)
    found = decompress(compress(Model(parts=(torus,)), codec=codec, name="ring")).parts[0]
    assert found.material == replace(shiny, wrap=found.material.wrap)
    _, nearest = cKDTree(found.vertices).query(torus.vertices[np.unique(torus.faces)])
    assert found.colours is not None
    assert torus.colours is not None
    assert np.array_equal(found.colours[nearest], torus.colours[np.unique(torus.faces)])


def test_colour_is_where_it_was():
    found = decompress(compress(Model(parts=(BALL,)), name="ball")).parts[0]
    assert found.texture_mime_type == "image/webp"
    assert found.texture is not None
    pixels = read_pixels(replace(PICTURE, data=found.texture)).astype(int)
    assert np.abs(pixels - read_pixels(PICTURE)).mean() < 2


def test_coordinates_beyond_the_picture_survive():
    assert BALL.uvs is not None
    tiled = replace(BALL, uvs=BALL.uvs * np.float32(5) - np.float32(1.5), material=Material(wrap="repeat"))
    found = decompress(compress(Model(parts=(tiled,)), name="ball")).parts[0]
    assert found.uvs is not None
    source, written = corners_of(tiled), corners_of(found)
    _, nearest = cKDTree(written[:, :5]).query(source[:, :5])
    assert np.abs(written[nearest] - source)[:, 3:5].max() <= Precision().uv_error
    assert found.material.wrap == "repeat"


@pytest.mark.parametrize("codec", CODECS)
def test_what_a_reader_must_know_is_required(codec):
    document, content = unpack(compress(Model(parts=(BALL,)), codec=codec, name="ball", extras={"seed": 7}))
    assert set(document["extensionsRequired"]) == EXTENSIONS[codec]
    assert set(document["extensionsUsed"]) == EXTENSIONS[codec]
    assert document["asset"]["extras"] == {"seed": 7}
    assert document["buffers"][0]["byteLength"] == len(content)


def test_meshopt_views_lie_in_a_buffer_that_says_it_has_no_bytes():
    document, content = unpack(compress(Model(parts=(BALL, coloured_torus())), name="both"))
    whole, fallback = document["buffers"]
    assert fallback["extensions"]["EXT_meshopt_compression"] == {"fallback": True}
    assert "uri" not in fallback
    end = 0
    for view in document["bufferViews"]:
        coded = view.get("extensions", {}).get("EXT_meshopt_compression")
        if coded is None:
            assert view["buffer"] == 0
            continue
        assert view["buffer"] == 1
        assert view["byteOffset"] >= end
        assert view["byteOffset"] % 4 == 0
        assert view["byteLength"] == coded["count"] * coded["byteStride"]
        assert coded.get("byteOffset", 0) + coded["byteLength"] <= len(content)
        end = view["byteOffset"] + view["byteLength"]
    assert end <= fallback["byteLength"]
    assert whole["byteLength"] == len(content)
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            position = document["accessors"][primitive["attributes"]["POSITION"]]
            assert position["componentType"] == 5123
            assert document["bufferViews"][position["bufferView"]]["byteStride"] == 8


def test_draco_accessors_have_the_counts_of_the_stream_and_no_data():
    document, _ = unpack(compress(Model(parts=(BALL,)), codec="draco", name="ball"))
    primitive = document["meshes"][0]["primitives"][0]
    assert set(primitive["extensions"]["KHR_draco_mesh_compression"]["attributes"]) == set(
        primitive["attributes"]
    )
    assert all("bufferView" not in accessor for accessor in document["accessors"])
    counts = {document["accessors"][index]["count"] for index in primitive["attributes"].values()}
    assert counts == {
        len(decompress(compress(Model(parts=(BALL,)), codec="draco", name="b")).parts[0].vertices)
    }


def test_coordinates_that_no_picture_uses_are_left_out():
    bare = replace(BALL, texture=None)
    document, _ = unpack(compress(Model(parts=(bare,)), name="ball"))
    assert "TEXCOORD_0" not in document["meshes"][0]["primitives"][0]["attributes"]


def test_many_vertices_have_indices_of_four_bytes():
    large = textured_sphere(rows=200, columns=400)
    model = Model(parts=(replace(large, texture=None, normals=None),))
    found = decompress(compress(model, name="ball")).parts[0]
    assert len(found.faces) == len(large.faces)
    assert len(found.vertices) > 65_535


@pytest.mark.parametrize("codec", CODECS)
def test_joining_faces_saves_bytes_and_keeps_the_shape(codec):
    model = Model(parts=(textured_sphere(rows=120, columns=160),))
    whole = compress(model, codec=codec, name="ball")
    fewer = compress(model, codec=codec, name="ball", simplify_error=1e-3)
    assert len(fewer) < 0.8 * len(whole)
    radii = np.linalg.norm(decompress(fewer).parts[0].vertices, axis=1)
    assert np.abs(radii - 0.5).max() < 1e-3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({"codec": "zip"}, InvalidParameters, id="an unknown codec"),
        pytest.param({"texture_px": 0}, InvalidParameters, id="no pixels"),
        pytest.param({"texture_px": 100_000}, InvalidParameters, id="too many pixels"),
        pytest.param({"simplify_error": -1.0}, InvalidParameters, id="an error below 0"),
        pytest.param({"simplify_error": float("nan")}, InvalidParameters, id="an error that is no number"),
    ],
)
def test_options_that_cannot_be_are_refused(options, error):
    with pytest.raises(error):
        compress(Model(parts=(BALL,)), name="ball", **options)


@pytest.mark.parametrize(
    ("name", "code"),
    [("empty", "empty_mesh"), ("no_faces", "empty_mesh"), ("nan", "nan_mesh"), ("infinite", "nan_mesh")],
)
@pytest.mark.parametrize("codec", CODECS)
def test_a_model_that_is_none_is_refused(name, code, codec):
    with pytest.raises(BrokenModelOutput) as refusal:
        compress(build(name), codec=codec, name=name)
    assert refusal.value.code == code
