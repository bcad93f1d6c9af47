"""The texture: the field's colours at the right places, on a smaller surface, without seams."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline3d.generation.triposr import BakedMesh, ExtractedMesh, bake, baking, extract
from pipeline3d.generation.triposr.baking import raster, simplify
from pipeline3d.generation.triposr.meshes import turn_back, vertex_normals
from pipeline3d_tests.tiny_triposr import MARKED_BODY, TINY, build_scene
from pipeline3d_tests.triposr_by_hand import query_field

SIDE = 256


@pytest.fixture(scope="module")
def scene():
    return build_scene(TINY, MARKED_BODY)


@pytest.fixture(scope="module")
def mesh(scene) -> ExtractedMesh:
    return extract(scene, resolution=64)


@pytest.fixture(scope="module")
def baked(scene, mesh) -> BakedMesh:
    return bake(scene, mesh, texture_resolution=SIDE, max_faces=1000)


def decode(baked: BakedMesh) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(baked.texture)).convert("RGB"))


def test_the_surface_is_smaller_and_in_the_same_place(mesh, baked):
    assert len(mesh.faces) > 3000
    assert 500 < len(baked.faces) <= 1000
    assert baked.vertices.min(axis=0) == pytest.approx(mesh.vertices.min(axis=0), abs=0.02)
    assert baked.vertices.max(axis=0) == pytest.approx(mesh.vertices.max(axis=0), abs=0.02)
    assert np.linalg.norm(baked.normals, axis=1) == pytest.approx(1, abs=1e-4)


def test_the_texture_shows_the_fields_colours_at_their_places(scene, baked):
    """Looked up in the middle of every face, as a viewer would."""
    pixels = decode(baked)
    assert pixels.shape == (SIDE, SIDE, 3)
    middle = baked.vertices[baked.faces].mean(axis=1)
    u, v = baked.uvs[baked.faces].mean(axis=1).T
    shown = pixels[(v * SIDE).astype(int), (u * SIDE).astype(int)].astype(float)
    _, wanted = query_field(scene, turn_back(middle).astype(np.float64))
    away = np.abs(shown - 255 * wanted).max(axis=1)
    assert np.median(away) < 8
    assert np.quantile(away, 0.99) < 30
    assert np.ptp(wanted, axis=0).min() > 0.3


def test_no_seam_shows_at_the_edges_of_charts(scene, baked):
    """The corners of faces lie on seams: half a texel further out the colour is still theirs."""
    pixels = decode(baked)
    u, v = np.clip(baked.uvs.T * SIDE - 0.5, 0, SIDE - 1)
    shown = pixels[np.rint(v).astype(int), np.rint(u).astype(int)].astype(float)
    _, wanted = query_field(scene, turn_back(baked.vertices).astype(np.float64))
    assert np.quantile(np.abs(shown - 255 * wanted).max(axis=1), 0.99) < 35


def test_coordinates_stay_in_the_texture(baked):
    assert baked.uvs.min() >= 0
    assert baked.uvs.max() <= 1
    assert baked.uvs.dtype == np.float32
    assert len(baked.uvs) == len(baked.vertices) == len(baked.normals)


def test_the_same_mesh_gives_the_same_bytes(scene, mesh, baked):
    again = bake(scene, mesh, texture_resolution=SIDE, max_faces=1000)
    assert again.texture == baked.texture
    for name in ("vertices", "faces", "normals", "uvs"):
        assert getattr(again, name).tobytes() == getattr(baked, name).tobytes()


def test_a_small_mesh_keeps_its_faces(mesh):
    vertices, faces = simplify(mesh.vertices, mesh.faces, 100_000)
    assert faces is mesh.faces
    assert vertices is mesh.vertices


def test_many_crumbs_become_few_faces():
    """Tetrahedra that touch no other cannot be simplified edge by edge; some are left out."""
    random = np.random.default_rng(0)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32) * 0.01
    centres = random.uniform(-1, 1, (3000, 1, 3)).astype(np.float32)
    vertices = (centres + corners).reshape(-1, 3)
    sides = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    faces = (sides + 4 * np.arange(3000)[:, None, None]).reshape(-1, 3).astype(np.int32)
    fewer_vertices, fewer = simplify(vertices, faces, 1000)
    assert 800 < len(fewer) <= 1000
    assert fewer.max() < len(fewer_vertices)
    assert np.isfinite(vertex_normals(fewer_vertices, fewer)).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_texels_inside_a_face_are_found_with_their_weights(seed, count):
    corners = np.random.default_rng(seed).uniform(0, 24, (count, 3, 2)).astype(np.float32)
    face, weights, texels = raster(corners, 24)
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(face)), abs=1e-4)
    centres = np.stack([texels % 24, texels // 24], axis=1) + 0.5
    assert np.einsum("kc,kcd->kd", weights, corners[face]) == pytest.approx(centres, abs=0.01)
    found = set(zip(face.tolist(), texels.tolist(), strict=True))
    assert len(found) == len(face)
    for number, (a, b, c) in enumerate(corners.astype(np.float64)):
        for texel in range(24 * 24):
            p = np.array([texel % 24 + 0.5, texel // 24 + 0.5])
            sides = [
                (q[0] - o[0]) * (p[1] - o[1]) - (q[1] - o[1]) * (p[0] - o[0])
                for o, q in ((a, b), (b, c), (c, a))
            ]
            if min(sides) > 1e-3 or max(sides) < -1e-3:
                assert (number, texel) in found
            elif min(sides) < -1e-3 and max(sides) > 1e-3:
                assert (number, texel) not in found


def test_many_texels_are_walked_in_blocks(monkeypatch):
    """Two faces that cover a square, each more than a block, and a hundred of no size."""
    side = 150
    monkeypatch.setattr(baking, "MOST_CANDIDATES", side * side // 2)
    square = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    flat = np.zeros((100, 3, 2), np.float32) + 7.3
    corners = np.concatenate([square[[[0, 1, 2]]], flat, square[[[0, 2, 3]]]])
    face, _, texels = raster(corners, side)
    assert set(face.tolist()) == {0, 101}
    assert len(np.unique(texels)) == side**2


@pytest.mark.parametrize(("side", "faces"), [(32, 1000), (9000, 1000), (256, 10), (256, 10**6)])
def test_wrong_arguments_are_named(scene, mesh, side, faces):
    with pytest.raises(ValueError, match="texture_resolution|max_faces"):
        bake(scene, mesh, texture_resolution=side, max_faces=faces)
