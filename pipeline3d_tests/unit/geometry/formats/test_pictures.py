"""Pictures for formats that know PNG and JPEG only, and how a texture is looked up."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.formats.pictures import as_png_or_jpeg, decode, encode, picture_type, sample
from pipeline3d.geometry.mesh import Texture
from pipeline3d_tests.material_models import JPEG, PNG, WEBP, picture

FOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


@pytest.mark.parametrize("kind", [PNG, JPEG])
def test_png_and_jpeg_stay_as_they_are(kind):
    source = picture(kind)
    assert as_png_or_jpeg(source) is source


def test_a_wrong_type_is_put_right_by_the_content():
    assert as_png_or_jpeg(Texture(data=picture(PNG).data, mime_type=JPEG)).mime_type == PNG


@pytest.mark.parametrize(("mode", "kind"), [("RGB", JPEG), ("RGBA", PNG)])
def test_webp_becomes_jpeg_or_with_alpha_png_and_looks_the_same(mode, kind):
    source = picture(WEBP, mode=mode, side=64)
    found = as_png_or_jpeg(source)
    assert (found.mime_type, picture_type(found.data)) == (kind, kind)
    assert np.abs(decode(found.data).astype(int) - decode(source.data)).mean() < 3


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\x89PNG\r\n\x1a\n", picture(WEBP).data[:40], b"GIF89a" * 9])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(BrokenModelOutput) as refused:
        decode(data)
    assert refused.value.code == "broken_texture"


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(FOUR, id="colour"),
        pytest.param(np.concatenate([FOUR, FOUR[..., :1]], axis=2), id="alpha"),
        pytest.param(FOUR[..., 0], id="grey"),
    ],
)
def test_a_png_holds_the_pixels(pixels):
    expected = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    assert np.array_equal(decode(encode(pixels, PNG).data), expected)


def test_sixteen_bits_become_eight():
    deep = (FOUR[..., 0].astype(np.uint16)) * 257
    data = cv2.imencode(".png", deep)[1].tobytes()
    assert np.array_equal(decode(data)[..., 0], FOUR[..., 0])


@pytest.mark.parametrize(
    ("uv", "wrap", "colour"),
    [
        ((0.25, 0.25), "clamp", (1, 0, 0)),
        ((0.75, 0.25), "clamp", (0, 1, 0)),
        ((0.25, 0.75), "clamp", (0, 0, 1)),
        ((0.0, 0.0), "clamp", (1, 0, 0)),
        ((-3.0, 5.0), "clamp", (0, 0, 1)),
        ((1.25, -0.75), "repeat", (1, 0, 0)),
        ((1.25, 0.25), "mirror", (0, 1, 0)),
        ((0.5, 0.25), "clamp", (0.5, 0.5, 0)),
        ((0.0, 0.25), "repeat", (0.5, 0.5, 0)),
    ],
)
def test_a_texture_is_looked_up_as_gltf_says(uv, wrap, colour):
    found = sample(FOUR, np.array([uv], np.float32), wrap)
    assert np.allclose(found, [(*colour, 1.0)], atol=1e-3)
