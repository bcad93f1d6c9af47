"""Pictures on surfaces are looked up in the right place, colour and size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.picture_maps import read_picture_map

SMALL = np.full(1, 1e-9, np.float32)


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


STRIPES = encoded(
    np.repeat(np.array([[[250, 0, 0], [0, 250, 0]]], np.uint8), 2, axis=0).repeat(32, 0).repeat(32, 1)
)


def at(data: bytes, u: float, v: float, wrap="clamp", kind="colour", footprint=SMALL) -> np.ndarray:
    found = read_picture_map(data, kind, wrap, most_side=2048)
    return found.sample(np.array([[u, v]], np.float32), footprint)[0]


@pytest.mark.parametrize(
    ("wrap", "u", "seen"),
    [
        ("clamp", 0.25, "red"),
        ("clamp", 1.25, "green"),  # the edge goes on
        ("clamp", -7.0, "red"),
        ("repeat", 1.25, "red"),
        ("repeat", -0.25, "green"),
        ("repeat", 9000.25, "red"),  # OpenCV's own wrapping ends at 32767 pixels
        ("mirror", 1.25, "green"),
        ("mirror", -0.25, "red"),
        ("mirror", 2.25, "red"),
    ],
)
def test_outside_of_the_picture_the_wrap_says_what_is_seen(wrap, u, seen):
    colour = at(STRIPES, u, 0.5, wrap)
    assert ("red" if colour[0] > colour[1] else "green") == seen


def test_colours_become_light_and_data_stays_as_it_is():
    grey = encoded(np.full((16, 16, 3), 128, np.uint8))
    assert at(grey, 0.5, 0.5) == pytest.approx(to_linear(np.array([128 / 255] * 3)), abs=1e-3)
    assert at(grey, 0.5, 0.5, kind="data") == pytest.approx([128 / 255] * 3, abs=1e-4)


def test_alpha_is_not_gamma_corrected():
    glass = encoded(np.full((16, 16, 4), 128, np.uint8))
    assert at(glass, 0.5, 0.5, kind="colour_alpha")[3] == pytest.approx(128 / 255, abs=1e-3)
    assert at(encoded(np.full((16, 16, 3), 9, np.uint8)), 0.5, 0.5, kind="colour_alpha")[3] == 1


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 4)])
@pytest.mark.parametrize("kind", ["colour", "colour_alpha", "data"])
def test_grey_and_transparent_pictures_are_read_as_well(shape, kind):
    assert np.isfinite(at(encoded(np.full(shape, 200, np.uint8)), 0.3, 0.3, kind=kind)).all()


def test_a_picture_seen_from_afar_is_averaged_instead_of_sampled():
    noise = np.random.default_rng(1).integers(0, 2, (256, 256, 1)).repeat(3, 2).astype(np.uint8) * 255
    far = np.full(1, 1 / 64, np.float32)  # one sample covers 32 x 32 pixels
    assert at(encoded(noise), 0.31, 0.64, footprint=far) == pytest.approx([0.5] * 3, abs=0.08)


def test_a_large_picture_is_made_smaller():
    found = read_picture_map(encoded(np.zeros((40, 400, 3), np.uint8)), "colour", "clamp", most_side=100)
    assert found.levels[0].shape == (10, 100, 3)


@pytest.mark.parametrize("data", [b"", b"not a picture", encoded(np.zeros((64, 64, 3), np.uint8))[:30]])
def test_what_is_no_picture_is_broken_model_output(data):
    with pytest.raises(BrokenModelOutput) as caught:
        read_picture_map(data, "colour", "clamp", most_side=64)
    assert caught.value.code == "broken_texture"


def test_a_picture_too_large_for_memory_is_refused_before_it_is_decoded():
    import struct
    import zlib

    body = struct.pack(">II5B", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + body
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(BrokenModelOutput):
        read_picture_map(bomb, "colour", "clamp", most_side=64)
