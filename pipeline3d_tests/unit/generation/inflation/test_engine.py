"""The inflated model: closed, upright, textured where it should be, the same every time."""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline3d.errors import UnusableInput
from pipeline3d.generation.inflation import PRESETS, InflatedModel, inflate
from pipeline3d_tests.pictures import OBJECTS, cut_out_drawing

GENUS = {"apple": 0, "mug": 1, "teddy": 0, "vase": 0}
"""A mug's handle has a hole, and the model keeps it."""


def welded(model: InflatedModel) -> trimesh.Trimesh:
    mesh = trimesh.Trimesh(model.vertices, model.faces, process=False)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    return mesh


def texture_at(model: InflatedModel, places: list[tuple[float, float]]) -> np.ndarray:
    """Colours (k,3) of the texture on the front, at the vertices nearest to places (x, y)."""
    pixels = np.asarray(Image.open(io.BytesIO(model.texture_jpeg)).convert("RGB"))
    front = np.flatnonzero((model.normals[:, 2] > 0.1) & (model.uvs[:, 0] < 0.5))
    away = [np.linalg.norm(model.vertices[front, :2] - np.array(place), axis=1) for place in places]
    u, v = model.uvs[front[np.argmin(away, axis=1)]].T
    return pixels[(v * pixels.shape[0]).astype(int), (u * pixels.shape[1]).astype(int)]


@functools.cache
def made(subject: str, quality: str) -> InflatedModel:
    """The model of a drawing, made once for the tests that only look at it."""
    return inflate(cut_out_drawing(subject, size=384), quality=quality)


@pytest.fixture(scope="module")
def teddy() -> InflatedModel:
    return inflate(cut_out_drawing("teddy"))


@pytest.mark.parametrize(
    ("subject", "quality"),
    [
        *((subject, "fast") for subject in OBJECTS),
        ("teddy", "balanced"),
        ("vase", "balanced"),
        ("mug", "quality"),
    ],
)
def test_every_object_becomes_a_closed_solid_at_every_quality(subject, quality):
    model = made(subject, quality)
    mesh = welded(model)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0.05
    assert mesh.body_count == 1
    assert mesh.euler_number == 2 - 2 * GENUS[subject]
    assert len(model.faces) <= PRESETS[quality].faces
    assert len(model.faces) > 0.3 * PRESETS[quality].faces


def test_the_model_stands_on_the_ground_one_unit_tall_and_looks_forward(teddy):
    low, high = teddy.vertices.min(axis=0), teddy.vertices.max(axis=0)
    assert low[1] == pytest.approx(0, abs=1e-6)
    assert (high - low).max() == pytest.approx(1, abs=1e-5)
    assert high[1] == pytest.approx(1, abs=1e-5)
    assert (low[0] + high[0]) / 2 == pytest.approx(0, abs=1e-5)
    assert high[2] > 0.1
    assert low[2] < -0.1


def test_normals_are_unit_and_point_outwards(teddy):
    corners = teddy.vertices[teddy.faces].astype(np.float64)
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    mean = teddy.normals[teddy.faces].mean(axis=1)
    agree = np.einsum("ij,ij->i", faces, mean) > 0
    assert np.linalg.norm(teddy.normals, axis=1) == pytest.approx(1, abs=1e-4)
    assert agree.mean() > 0.995
    assert teddy.normals[teddy.vertices[:, 2].argmax(), 2] > 0.8
    assert teddy.normals[teddy.vertices[:, 2].argmin(), 2] < -0.8


def test_the_seam_leaves_no_step_in_the_normals(teddy):
    _, group = np.unique(teddy.vertices, axis=0, return_inverse=True)
    first = np.full(group.max() + 1, -1)
    first[group] = np.arange(len(group))
    assert np.array_equal(teddy.normals, teddy.normals[first[group]])


def test_the_front_wears_the_photo(teddy):
    """Dark eyes on brown fur and a pale belly are where the drawing has them, the left eye on the left."""
    height = 1 / (0.86 + 0.81)  # the drawing's teddy reaches from y = -0.81 to 0.86

    def on_front(x: float, y: float) -> tuple[float, float]:
        return x * height, (0.86 - y) * height

    places = [on_front(0, 0.34), on_front(-0.15, -0.48), on_front(0.15, -0.48), on_front(0, -0.62)]
    belly, left_eye, right_eye, brow = texture_at(teddy, places).astype(int)
    assert belly.sum() > brow.sum() + 100
    assert brow.sum() > max(left_eye.sum(), right_eye.sum()) + 60


def test_the_back_does_not_fake_a_second_face(teddy):
    """On the back half the eyes are blurred away."""
    pixels = np.asarray(Image.open(io.BytesIO(teddy.texture_jpeg)).convert("L")).astype(int)
    side = teddy.texture_side
    eyes = slice(int(0.15 * side), int(0.35 * side))
    front, back = pixels[eyes, :side], pixels[eyes, side:]
    assert front.min() + 25 < back.min()
    assert pixels.shape == (side, 2 * side)


def test_coordinates_stay_in_their_half_of_the_texture(teddy):
    facing = np.cross(
        *(teddy.vertices[teddy.faces[:, i]] - teddy.vertices[teddy.faces[:, 0]] for i in (1, 2))
    )[:, 2]
    u = teddy.uvs[teddy.faces][..., 0]
    assert teddy.uvs.min() >= 0
    assert teddy.uvs.max() <= 1
    assert (u[facing > 0] <= 0.5).all()
    assert (u[facing < 0] >= 0.5).all()


def test_no_background_bleeds_into_the_texture():
    rgba = cut_out_drawing("apple")
    rgba[rgba[..., 3] == 0, :3] = (0, 255, 0)  # a green screen
    model = inflate(rgba)
    pixels = np.asarray(Image.open(io.BytesIO(model.texture_jpeg)).convert("RGB")).astype(int)
    green_screen = (pixels[..., 1] > 200) & (pixels[..., 0] < 60)
    assert not green_screen.any()


@pytest.mark.parametrize(("subject", "quality"), [("mug", "fast"), ("vase", "balanced"), ("mug", "quality")])
def test_the_same_input_gives_the_same_bytes(subject, quality):
    first, second = made(subject, quality), inflate(cut_out_drawing(subject, size=384), quality=quality)
    for name in ("vertices", "faces", "normals", "uvs"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.texture_jpeg == second.texture_jpeg


@pytest.mark.parametrize("side", [64, 200, 1024])
def test_the_texture_has_the_resolution_that_was_asked_for(side):
    model = inflate(cut_out_drawing("vase", size=256), quality="fast", texture_resolution=side)
    assert Image.open(io.BytesIO(model.texture_jpeg)).size == (2 * side, side)
    assert model.texture_side == side


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_any_silhouette_becomes_closed(seed, pieces):
    """Blobs, strips and holes at random places, some thinner than a grid cell, some at the frame."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:160, 0:160]
    alpha = np.zeros((160, 160), np.uint8)
    for piece in range(pieces):
        y, x = random.integers(0, 160, 2)
        height, width = random.integers(3, 70, 2)
        inside = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
        alpha[inside] = 0 if piece and random.random() < 0.35 else 255
    if (alpha > 0).sum() < 40:
        alpha[70:90, 70:90] = 255
    rgba = np.dstack([np.full((160, 160, 3), 128, np.uint8), alpha])
    mesh = welded(inflate(rgba, quality="fast", texture_resolution=64))
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0


def test_a_transparent_picture_is_refused():
    with pytest.raises(UnusableInput) as refusal:
        inflate(np.zeros((64, 64, 4), np.uint8))
    assert refusal.value.code == "no_clear_object"


@pytest.mark.parametrize(
    ("rgba", "resolution"),
    [
        pytest.param(np.zeros((8, 8, 3), np.uint8), None, id="no alpha"),
        pytest.param(np.zeros((8, 8, 4), np.float32), None, id="floats"),
        pytest.param(np.full((8, 8, 4), 255, np.uint8), 32, id="texture too small"),
        pytest.param(np.full((8, 8, 4), 255, np.uint8), 9000, id="texture too large"),
    ],
)
def test_wrong_arguments_are_named(rgba, resolution):
    with pytest.raises(ValueError, match="RGBA|texture_resolution"):
        inflate(rgba, texture_resolution=resolution)
