"""Pictures keep their meaning: light is averaged as light, directions as directions, data as it is."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import structural_similarity

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry import texturing
from pipeline3d.geometry.mesh import Texture, TexturedMesh
from pipeline3d.geometry.texturing import (
    JPEG,
    PNG,
    WEBP,
    compare_pixels,
    decode_normals,
    encode_normals,
    mean_angle_deg,
    pack_channels,
    read_pixels,
    resize,
    shrink,
    texel_density,
    transcode,
    unpack_channels,
    write_pixels,
)
from pipeline3d_tests.pictures import draw

PHOTO = draw("mug", "graded", size=96).rgb


def saved(picture: Image.Image, kind: str = "PNG", **options) -> Texture:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return Texture(data=buffer.getvalue(), mime_type=f"image/{kind.lower()}")


def stripes(first: tuple[int, ...], second: tuple[int, ...]) -> np.ndarray:
    pixels = np.empty((8, 8, len(first)), np.uint8)
    pixels[:, ::2], pixels[:, 1::2] = first, second
    return pixels


@pytest.mark.parametrize(
    ("role", "expected"), [("colour", 188), ("data", 128)], ids=["light in linear", "data as stored"]
)
def test_black_and_white_average_to_what_they_mean(role, expected):
    small = resize(stripes((0, 0, 0), (255, 255, 255)), (4, 4), role)
    assert np.abs(small.astype(int) - expected).max() <= 1


def test_invisible_texels_do_not_colour_the_visible():
    small = resize(stripes((200, 10, 10, 255), (0, 255, 0, 0)), (4, 4), "colour")
    assert np.abs(small[:, :, :3].astype(int) - (200, 10, 10)).max() <= 1
    assert np.abs(small[:, :, 3].astype(int) - 128).max() <= 1


def test_averaged_normals_stay_unit():
    left, right = encode_normals(np.array([[[0.8, 0, 0.6], [-0.8, 0, 0.6]]]))[0]
    small = resize(stripes(tuple(left), tuple(right)), (4, 4), "normal")
    assert np.abs(decode_normals(small) - (0, 0, 1)).max() < 0.01


@given(level=st.integers(0, 255), role=st.sampled_from(["colour", "data"]))
@settings(max_examples=40, deadline=None)
def test_an_even_picture_stays_what_it_was(level, role):
    assert (resize(np.full((6, 10, 3), level, np.uint8), (3, 2), role) == level).all()


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [((40, 20), 10, (10, 5)), ((20, 40), 10, (5, 10)), ((40, 20), 64, (40, 20)), ((400, 1), 4, (4, 1))],
)
def test_pictures_shrink_in_shape_and_never_grow(size, longest, expected):
    found = shrink(np.zeros((size[1], size[0], 3), np.uint8), longest, "data")
    assert found.shape[1::-1] == expected


def test_channels_are_packed_where_gltf_looks_for_them():
    roughness = np.full((4, 4), 90, np.uint8)
    metallic = np.arange(4, dtype=np.uint8).reshape(2, 2)
    packed = pack_channels(roughness=roughness, metallic=metallic)
    assert (packed[:, :, 0] == 255).all()
    assert (packed[:, :, 1] == 90).all()
    assert packed[0, 0, 2] == 0
    assert packed[3, 3, 2] == 3


def test_unpacking_gives_what_was_packed():
    channels = [np.random.default_rng(n).integers(0, 256, (5, 7)).astype(np.uint8) for n in range(3)]
    packed = pack_channels(occlusion=channels[0], roughness=channels[1], metallic=channels[2])
    assert all(np.array_equal(a, b) for a, b in zip(unpack_channels(packed), channels, strict=True))
    with pytest.raises(ValueError, match="at least one"):
        pack_channels()


@pytest.mark.parametrize("kind", [JPEG, PNG, WEBP])
def test_a_picture_survives_every_format(kind):
    found = transcode(write_pixels(PHOTO, PNG), kind, quality=90)
    assert found.mime_type == kind
    likeness = compare_pixels(PHOTO, read_pixels(found))
    assert likeness.psnr_db > 33
    assert likeness.ssim > 0.93


@pytest.mark.parametrize("kind", [PNG, WEBP])
def test_transparency_and_the_colour_beneath_it_survive(kind):
    pixels = np.dstack([PHOTO, np.tile(np.arange(96, dtype=np.uint8) * 2, (96, 1))])
    found = read_pixels(write_pixels(pixels, kind, lossless=True))
    assert np.array_equal(found, pixels)


def test_a_picture_of_the_wanted_type_is_not_encoded_again():
    texture = write_pixels(PHOTO, JPEG)
    assert transcode(texture, JPEG) is texture


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        pytest.param(Image.new("L", (2, 2), 7), (7, 7, 7), id="grey"),
        pytest.param(Image.fromarray(np.full((2, 2), 32896, np.uint16)), (128, 128, 128), id="16-bit grey"),
        pytest.param(Image.new("RGB", (2, 2), (1, 2, 3)).quantize(4), (1, 2, 3), id="palette"),
        pytest.param(Image.new("RGBA", (2, 2), (1, 2, 3, 255)), (1, 2, 3), id="opaque alpha"),
        pytest.param(Image.new("RGBA", (2, 2), (1, 2, 3, 9)), (1, 2, 3, 9), id="alpha"),
    ],
)
def test_every_kind_of_pixel_is_read(picture, expected):
    assert read_pixels(saved(picture))[0, 0].tolist() == list(expected)


def test_a_huge_jpeg_is_reduced_while_it_is_read(monkeypatch):
    monkeypatch.setattr(texturing, "WHOLE_PIXELS", 50 * 50)
    for kind in ("JPEG", "PNG"):
        assert read_pixels(saved(Image.fromarray(PHOTO), kind)).shape == (48, 48, 3)


WHOLE = write_pixels(PHOTO, PNG).data


def announcing(width: int, height: int) -> bytes:
    """The PNG with a header that says it is this large, of the right check sum."""
    header = b"IHDR" + struct.pack(">II", width, height) + WHOLE[24:29]
    return WHOLE[:12] + header + struct.pack(">I", zlib.crc32(header)) + WHOLE[33:]


BAD = {
    "no picture": (b"solid model", "unsupported_texture"),
    "nothing": (b"", "unsupported_texture"),
    "a format that glTF does not have": (saved(Image.new("RGB", (2, 2)), "BMP").data, "unsupported_texture"),
    "cut off": (WHOLE[: len(WHOLE) // 2], "broken_texture"),
    "too wide": (saved(Image.new("1", (16_385, 1))).data, "texture_too_large"),
    "a bomb": (announcing(60_000, 60_000), "texture_too_large"),
}


@pytest.mark.parametrize(("data", "code"), BAD.values(), ids=BAD.keys())
def test_a_picture_that_cannot_be_used_is_refused(data, code):
    with pytest.raises(UnusableInput) as refusal:
        read_pixels(Texture(data=data, mime_type=PNG))
    assert refusal.value.code == code


def test_likeness_is_what_the_reference_says():
    noisy = np.clip(PHOTO.astype(int) + np.random.default_rng(5).integers(-9, 10, PHOTO.shape), 0, 255)
    noisy = noisy.astype(np.uint8)
    found = compare_pixels(PHOTO, noisy)
    error = ((PHOTO.astype(float) - noisy) ** 2).mean()
    assert found.psnr_db == pytest.approx(10 * np.log10(255**2 / error))
    grey = [np.asarray(Image.fromarray(p).convert("L"), float) for p in (PHOTO, noisy)]
    reference = structural_similarity(*grey, data_range=255, use_sample_covariance=False)
    assert found.ssim == pytest.approx(reference, abs=0.02)
    same = compare_pixels(PHOTO, PHOTO)
    assert same.psnr_db == float("inf")
    assert same.ssim == pytest.approx(1)
    with pytest.raises(ValueError, match="compared"):
        compare_pixels(PHOTO, PHOTO[:-1])


def test_the_angle_between_normal_maps_is_measured():
    straight = encode_normals(np.broadcast_to([0.0, 0, 1], (4, 4, 3)))
    tilted = encode_normals(np.broadcast_to([np.sin(0.2), 0, np.cos(0.2)], (4, 4, 3)))
    assert mean_angle_deg(straight, tilted) == pytest.approx(np.degrees(0.2), abs=0.5)


def test_texel_density_counts_texels_along_a_unit():
    square = TexturedMesh(
        vertices=np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uvs=np.array([[0, 1], [0.5, 1], [0.5, 0.5], [0, 0.5]], np.float32),
    )
    assert texel_density(square, (1024, 1024)) == pytest.approx(256)
    assert texel_density(TexturedMesh(vertices=square.vertices, faces=square.faces), (8, 8)) == 0
