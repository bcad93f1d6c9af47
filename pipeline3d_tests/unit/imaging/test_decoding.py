"""Whatever bytes arrive: a picture, or `UnusableInput` with a stable code."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pipeline3d.errors import UnusableInput
from pipeline3d.imaging.decoding import decode_picture
from pipeline3d_tests.pictures import draw, encode

RGB = draw("apple", "plain", size=96).rgb
PICTURE = Image.fromarray(RGB)
GREY = PICTURE.convert("L")


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def with_alpha() -> Image.Image:
    alpha = np.full(RGB.shape[:2], 255, np.uint8)
    alpha[:, :48] = 0
    return Image.fromarray(np.dstack([RGB, alpha]))


def png_header(width: int, height: int) -> bytes:
    """A PNG that only says how large it is."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    )


SIXTEEN_BITS = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("data", "wanted", "tolerance"),
    [
        pytest.param(saved(PICTURE, "PNG"), PICTURE, 0, id="plain"),
        pytest.param(saved(PICTURE, "JPEG", quality=95), PICTURE, 16, id="JPEG loses a little"),
        pytest.param(saved(PICTURE, "WEBP", lossless=True), PICTURE, 0, id="WebP"),
        pytest.param(saved(PICTURE, "BMP"), PICTURE, 0, id="BMP"),
        pytest.param(saved(PICTURE, "TIFF"), PICTURE, 0, id="TIFF"),
        pytest.param(
            saved(PICTURE.convert("CMYK"), "JPEG", quality=95), PICTURE, 16, id="CMYK of a print shop"
        ),
        pytest.param(saved(PICTURE.convert("CMYK"), "TIFF"), PICTURE, 3, id="CMYK in TIFF"),
        pytest.param(saved(PICTURE.quantize(256), "PNG"), PICTURE, 40, id="palette"),
        pytest.param(saved(PICTURE.quantize(256), "GIF"), PICTURE, 40, id="GIF has a palette"),
        pytest.param(saved(GREY, "PNG"), GREY, 0, id="grey"),
        pytest.param(saved(GREY, "JPEG", quality=95), GREY, 12, id="grey JPEG"),
        pytest.param(saved(GREY.point(lambda v: 255 * (v > 99)).convert("1"), "PNG"), None, 0, id="one bit"),
        pytest.param(saved(SIXTEEN_BITS, "PNG"), GREY, 1, id="16 bits"),
        pytest.param(saved(SIXTEEN_BITS, "TIFF"), GREY, 1, id="16 bits in TIFF"),
        pytest.param(saved(SIXTEEN_BITS.convert("I"), "TIFF"), GREY, 1, id="16 bits stored in 32"),
        pytest.param(
            saved(Image.fromarray(np.asarray(GREY) / np.float32(255)), "TIFF"), GREY, 1, id="floats, 0 to 1"
        ),
        pytest.param(
            saved(PICTURE, "PNG", icc_profile=b"broken"), PICTURE, 0, id="a broken profile is ignored"
        ),
        pytest.param(
            saved(PICTURE, "JPEG", quality=95, exif=b"Exif\0\0II*\0junk"), PICTURE, 16, id="broken EXIF"
        ),
    ],
)
def test_every_pixel_mode_becomes_eight_bit_rgb(data, wanted, tolerance):
    picture = decode_picture(data)
    assert picture.rgb.dtype == np.uint8
    assert picture.rgb.shape == (96, 96, 3)
    assert picture.alpha is None
    if wanted is not None:
        difference = np.abs(picture.rgb.astype(int) - np.asarray(wanted.convert("RGB")).astype(int))
        assert np.percentile(difference, 99) <= tolerance


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(with_alpha(), "PNG"), id="RGBA"),
        pytest.param(saved(with_alpha(), "WEBP", lossless=True), id="RGBA in WebP"),
        pytest.param(saved(with_alpha().convert("LA"), "PNG"), id="grey with alpha"),
        pytest.param(saved(with_alpha().quantize(64), "PNG"), id="palette with transparency"),
        pytest.param(saved(with_alpha(), "GIF"), id="GIF with a transparent colour"),
    ],
)
def test_transparency_survives_in_every_mode(data):
    alpha = decode_picture(data).alpha
    assert alpha is not None
    assert (alpha[:, :46] == 0).all()
    assert (alpha[:, 50:] == 255).all()


def test_a_colour_key_is_transparency():
    flat = np.full((64, 64, 3), 200, np.uint8)
    flat[:, :32] = (1, 2, 3)
    alpha = decode_picture(saved(Image.fromarray(flat), "PNG", transparency=(1, 2, 3))).alpha
    assert alpha is not None
    assert (alpha[:, :32] == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(orientation):
    upright = Image.fromarray(RGB[:64])
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode_picture(saved(stored, "PNG", exif=exif.tobytes()))
    assert np.array_equal(picture.rgb, np.asarray(upright))
    assert (picture.source_width, picture.source_height) == (96, 64)


def test_a_large_photo_is_turned_and_shrunk():
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.fromarray(draw("mug", "graded", size=600).rgb).resize((3000, 1500))
    picture = decode_picture(saved(large, "JPEG", exif=exif.tobytes()), max_side=1000)
    assert picture.rgb.shape == (1000, 500, 3)
    assert (picture.source_width, picture.source_height) == (1500, 3000)


def test_an_embedded_profile_is_applied():
    source = Image.new("RGB", (64, 64), (60, 160, 90))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    plain = decode_picture(saved(source, "PNG", icc_profile=lab.tobytes()))
    assert np.abs(plain.rgb.astype(int) - np.asarray(source).astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"", "empty_file", id="nothing arrived"),
        pytest.param(b"hello, this is text", "not_an_image", id="text"),
        pytest.param(b"PK\x03\x04" + bytes(200), "not_an_image", id="an archive"),
        pytest.param(b"%PDF-1.7 ...", "unsupported_image_format", id="PDF"),
        pytest.param(b"\0\0\0\x18ftypheic" + bytes(50), "unsupported_image_format", id="a phone's HEIC"),
        pytest.param(b"<svg xmlns=''></svg>", "unsupported_image_format", id="SVG"),
        pytest.param(saved(PICTURE, "PPM"), "unsupported_image_format", id="a format that Pillow could read"),
        pytest.param(saved(PICTURE, "JPEG")[:600], "truncated_image", id="half a JPEG"),
        pytest.param(saved(PICTURE, "PNG")[:900], "truncated_image", id="half a PNG"),
        pytest.param(saved(PICTURE, "PNG")[:20], "truncated_image", id="only a signature"),
        pytest.param(saved(PICTURE, "WEBP")[:200], "truncated_image", id="half a WebP"),
        pytest.param(png_header(10_000, 10_000), "image_too_large", id="100 megapixels"),
        pytest.param(png_header(60_000, 60_000), "image_too_large", id="3600 megapixels"),
        pytest.param(png_header(2_000_000_000, 2), "image_too_large", id="absurdly wide"),
        pytest.param(saved(PICTURE.resize((31, 96)), "PNG"), "image_too_small", id="an icon"),
        pytest.param(png_header(200, 200), "truncated_image", id="a header without pixels"),
    ],
)
def test_bad_files_are_refused_with_a_stable_code(data, code):
    with pytest.raises(UnusableInput) as refusal:
        decode_picture(data)
    assert refusal.value.code == code
    assert refusal.value.hint


def outcome_is_clean(data: bytes) -> None:
    """Either a picture or `UnusableInput`; any other error fails the test."""
    try:
        picture = decode_picture(data)
    except UnusableInput:
        return
    assert picture.rgb.ndim == 3


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_never_crash(data):
    outcome_is_clean(data)


FILES = [encode(RGB[::2, ::2], kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(FILES), st.floats(0, 1))
def test_a_file_cut_anywhere_never_crashes(data, share):
    outcome_is_clean(data[: int(share * len(data))])


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(FILES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_a_file_with_flipped_bytes_never_crashes(data, changes):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[min(int(place * len(data)), len(data) - 1)] = value
    outcome_is_clean(bytes(damaged))
