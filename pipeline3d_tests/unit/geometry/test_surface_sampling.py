"""What a material shows at a place, worked out by hand."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry import surface_sampling
from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.surface_sampling import Sampler, Shown, look_up

WALL = TexturedMesh(
    vertices=np.array([[0, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32),
    faces=np.array([[0, 2, 1], [0, 3, 2]], np.int32),
    uvs=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
)


def picture(*rows: list[tuple[int, ...]]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.array(rows, np.uint8)).save(content, "PNG")
    return content.getvalue()


def shown(part: TexturedMesh, x: float = 0.5, y: float = 0.5) -> Shown:
    return Sampler(model=Model(parts=(part,))).at(np.array([[x, y, 0.1]]), np.array([[0.0, 0, 1]]))


def test_colours_textures_and_factors_are_multiplied_in_linear_light() -> None:
    part = replace(
        WALL,
        texture=picture([(188, 188, 188)]),
        colours=np.tile(np.uint8([255, 128, 255, 51]), (4, 1)),
        material=Material(base_colour=(0.5, 1, 1, 1)),
    )
    found = shown(part).base[0]
    grey = 0.5029  # sRGB 188
    assert found == pytest.approx([grey / 2, grey * 128 / 255, grey, 0.2], abs=2e-3)


def test_the_upper_left_of_the_picture_is_at_uv_zero() -> None:
    fields = [(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]
    part = replace(WALL, texture=picture(*[list(row) for row in fields]))
    assert shown(part, 0.25, 0.75).base[0, :3] == pytest.approx([1, 0, 0], abs=1e-5)
    assert shown(part, 0.75, 0.75).base[0, :3] == pytest.approx([0, 1, 0], abs=1e-5)
    assert shown(part, 0.25, 0.25).base[0, :3] == pytest.approx([0, 0, 1], abs=1e-5)


def test_a_normal_map_turns_the_normal_right_and_up() -> None:
    for pixel, wanted in (((218, 128, 218), (1, 0, 1)), ((128, 218, 218), (0, 1, 1))):
        material = Material(normal=Texture(data=picture([pixel]), mime_type="image/png"))
        found = shown(replace(WALL, material=material)).normals[0]
        assert found == pytest.approx(np.array(wanted) / np.sqrt(2), abs=0.01)


def test_material_maps_are_read_from_their_channels() -> None:
    data = Texture(data=picture([(51, 102, 204)]), mime_type="image/png")
    material = Material(
        roughness=0.5,
        metallic=1.0,
        metallic_roughness=data,
        occlusion=data,
        occlusion_strength=0.5,
        emissive=Texture(data=picture([(255, 255, 255)]), mime_type="image/png"),
        emissive_colour=(0.1, 0.2, 0.3),
    )
    found = shown(replace(WALL, material=material))
    assert found.roughness[0] == pytest.approx(0.5 * 0.4)
    assert found.metallic[0] == pytest.approx(0.8)
    assert found.occlusion[0] == pytest.approx(1 - 0.5 * 0.8)
    assert found.emitted[0] == pytest.approx([0.1, 0.2, 0.3], abs=1e-5)


@pytest.mark.parametrize(
    ("wrap", "wanted"), [("clamp", [1.0, 1.0]), ("repeat", [0.0, 1.0]), ("mirror", [1.0, 0.0])]
)
def test_beyond_the_edge_the_picture_goes_on_as_the_material_says(wrap: str, wanted: list[float]) -> None:
    pixels = np.array([[[0.0], [1.0]]], np.float32)
    found = look_up(pixels, np.array([[1.25, 0.5], [1.75, 0.5]], np.float32), wrap)
    assert found[:, 0] == pytest.approx(wanted)


def test_a_picture_larger_than_any_that_is_baked_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface_sampling, "LONGEST_PX", 1)
    part = replace(WALL, texture=picture([(0, 0, 0), (255, 255, 255)], [(255, 255, 255), (0, 0, 0)]))
    assert shown(part, 0.1, 0.1).base[0] == pytest.approx([0.5, 0.5, 0.5, 1], abs=0.01)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no picture", "unsupported_texture"),
        (picture(*[[(x, y, 3) for x in range(64)] for y in range(64)])[:60], "broken_texture"),
    ],
)
def test_a_picture_that_cannot_be_read_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(UnusableInput) as refusal:
        shown(replace(WALL, texture=data))
    assert refusal.value.code == code
