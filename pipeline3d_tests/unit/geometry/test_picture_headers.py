"""The size of a picture without decoding it, and whether it is all there."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.picture_headers import read_picture_header
from pipeline3d_tests.strange_gltf import huge_png


def encoded(kind: str, mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (37, 21)).save(buffer, kind, **options)
    return buffer.getvalue()


PICTURES = {
    "png": (encoded("PNG"), "image/png"),
    "png with alpha": (encoded("PNG", "RGBA"), "image/png"),
    "jpeg": (encoded("JPEG"), "image/jpeg"),
    "progressive jpeg": (encoded("JPEG", progressive=True), "image/jpeg"),
    "jpeg with a comment": (encoded("JPEG", comment=b"\xff\xd9\xff\xc0" * 50), "image/jpeg"),
    "lossy webp": (encoded("WEBP"), "image/webp"),
    "lossless webp": (encoded("WEBP", lossless=True), "image/webp"),
    "webp with alpha": (encoded("WEBP", "RGBA", exif=b"Exif\0\0"), "image/webp"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_type_and_size_are_read(name):
    data, kind = PICTURES[name]
    header = read_picture_header(data)
    assert (header.mime_type, header.width, header.height) == (kind, 37, 21)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_is_cut_short_is_broken(name):
    data, _ = PICTURES[name]
    for length in (len(data) // 2, len(data) - 3):
        with pytest.raises(UnusableInput) as caught:
            read_picture_header(data[:length])
        assert caught.value.code == "broken_texture"


def test_a_png_with_a_wrong_checksum_is_broken():
    data = bytearray(encoded("PNG"))
    data[40] ^= 1
    with pytest.raises(UnusableInput) as caught:
        read_picture_header(bytes(data))
    assert caught.value.code == "broken_texture"


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"BM", b"<svg/>"])
def test_other_formats_are_unsupported(data):
    with pytest.raises(UnusableInput) as caught:
        read_picture_header(data)
    assert caught.value.code == "unsupported_texture"


def test_a_huge_picture_costs_no_memory():
    data = huge_png(16_384)
    tracemalloc.start()
    try:
        header = read_picture_header(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (header.width, header.height) == (16_384, 16_384)
    assert peak < 1_000_000


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(PICTURES)), st.binary(max_size=40), st.integers(0, 60))
def test_no_damage_makes_the_reader_fail_otherwise(name, noise, at):
    data = PICTURES[name][0]
    try:
        header = read_picture_header(data[:at] + noise + data[at + len(noise) :])
    except UnusableInput:
        return
    assert header.width > 0
    assert header.height > 0
