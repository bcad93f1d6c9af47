"""Pictures for the web: smaller, and not to be told from what they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.texturing import (
    JPEG,
    PNG,
    WEBP,
    compare_pixels,
    encode_normals,
    mean_angle_deg,
    read_pixels,
    shrink,
    write_pixels,
)
from pipeline3d.geometry.web_textures import (
    LEAST_PSNR_DB,
    LEAST_SSIM,
    MOST_NORMAL_ERROR_DEG,
    compress_texture,
    compressing_textures,
)
from pipeline3d_tests.awkward_meshes import textured_sphere
from pipeline3d_tests.pictures import draw

PHOTO = draw("teddy", "noisy", size=256).rgb
NOISE = np.random.default_rng(4).integers(0, 256, (64, 64, 3)).astype(np.uint8)
WAVES = encode_normals(
    np.stack(
        [*(0.5 * np.sin(np.indices((128, 128)) / np.array([3.0, 5.0])[:, None, None])), np.ones((128, 128))],
        axis=-1,
    )
)


@pytest.mark.parametrize("texture_format", ["webp", "jpeg"])
@pytest.mark.parametrize(("subject", "backdrop"), [("teddy", "noisy"), ("mug", "graded")])
def test_a_photo_cannot_be_told_from_its_source_and_takes_fewer_bytes(subject, backdrop, texture_format):
    picture = draw(subject, backdrop, size=256).rgb
    source = write_pixels(picture, PNG)
    made = compress_texture(source, "colour", longest_px=2048, texture_format=texture_format)
    found = compare_pixels(picture, read_pixels(made))
    assert found.psnr_db >= LEAST_PSNR_DB
    assert found.ssim >= LEAST_SSIM
    assert made.mime_type == f"image/{texture_format}"
    assert len(made.data) < {"webp": 0.4, "jpeg": 0.6}[texture_format] * len(source.data)


def test_pure_noise_is_colour_of_the_best_quality_but_data_without_loss():
    source = write_pixels(NOISE, PNG)
    colour = compress_texture(source, "colour", longest_px=2048, texture_format="webp")
    assert len(colour.data) < len(source.data)
    data = compress_texture(source, "data", longest_px=2048, texture_format="webp")
    assert np.array_equal(read_pixels(data), NOISE)


def test_normals_turn_less_than_can_be_seen_though_webp_halves_colour():
    made = compress_texture(write_pixels(WAVES, PNG), "normal", longest_px=2048, texture_format="webp")
    assert mean_angle_deg(WAVES, read_pixels(made)) <= MOST_NORMAL_ERROR_DEG


def test_a_large_picture_is_shrunk_to_the_limit():
    made = compress_texture(write_pixels(PHOTO, PNG), "colour", longest_px=100, texture_format="webp")
    pixels = read_pixels(made)
    assert pixels.shape == (100, 100, 3)
    assert compare_pixels(shrink(PHOTO, 100, "colour"), pixels).ssim >= LEAST_SSIM


def test_a_small_picture_that_would_grow_stays_byte_for_byte():
    source = write_pixels(PHOTO, JPEG, quality=20)
    for texture_format in ("webp", "jpeg", "keep"):
        made = compress_texture(source, "colour", longest_px=512, texture_format=texture_format)
        assert made is source


@pytest.mark.parametrize(
    ("texture_format", "transparent", "kind", "channels"),
    [("webp", True, WEBP, 4), ("webp", False, WEBP, 3), ("jpeg", True, PNG, 4), ("jpeg", False, JPEG, 3)],
)
def test_transparency_is_kept_where_the_material_shows_it(texture_format, transparent, kind, channels):
    pixels = np.dstack([PHOTO, np.tile(np.arange(256, dtype=np.uint8), (256, 1))])
    made = compress_texture(
        write_pixels(pixels, PNG),
        "colour",
        longest_px=2048,
        texture_format=texture_format,
        transparent=transparent,
    )
    assert made.mime_type == kind
    assert read_pixels(made).shape[2] == channels


def test_every_map_of_every_part_is_compressed_and_equal_ones_stay_equal():
    packed = write_pixels(PHOTO, PNG)
    material = Material(metallic_roughness=packed, occlusion=packed, normal=write_pixels(WAVES, PNG))
    part: TexturedMesh = replace(textured_sphere(), material=material)
    plain = replace(part, texture=None, material=Material(emissive=packed))
    model = Model(parts=(part, plain))
    with compressing_textures(model, longest_px=64, texture_format="webp") as finish:
        first, second = finish().parts
    pictures = [
        first.material.metallic_roughness,
        first.material.occlusion,
        first.material.normal,
        second.material.emissive,
    ]
    assert all(isinstance(p, Texture) and p.mime_type == WEBP for p in pictures)
    assert first.material.metallic_roughness is first.material.occlusion
    assert max(read_pixels(p).shape[0] for p in pictures if p) == 64
    assert second.texture is None
