"""Pictures of a material for formats that know PNG and JPEG only, and the colour that they give a surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.mesh import Floats, Texture

PNG, JPEG = "image/png", "image/jpeg"
SUFFIXES = {PNG: ".png", JPEG: ".jpg"}
MAGICS = {b"\x89PNG\r\n\x1a\n": PNG, b"\xff\xd8\xff": JPEG}
JPEG_QUALITY = 92
PNG_EFFORT = 3
"""zlib's level: the higher ones take several times as long for a few per cent."""
Pixels = npt.NDArray[np.uint8]


def picture_type(data: bytes) -> str | None:
    """PNG or JPEG by the picture's first bytes, whatever it is said to be; None for others."""
    return next((kind for magic, kind in MAGICS.items() if data.startswith(magic)), None)


def as_png_or_jpeg(texture: Texture) -> Texture:
    """The same picture; other encodings (WebP) become JPEG, or PNG where they have an alpha channel."""
    kind = picture_type(texture.data)
    if kind is not None:
        return texture if texture.mime_type == kind else Texture(data=texture.data, mime_type=kind)
    pixels = decode(texture.data)
    return encode(pixels, PNG if pixels.shape[2] == 4 else JPEG)


def decode(data: bytes) -> Pixels:
    """(h,w,3) RGB or (h,w,4) RGBA uint8. Raises BrokenModelOutput `broken_texture`."""
    import cv2

    # glTF has no orientation tag: what EXIF says must not turn the picture away from its UVs
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        pixels = None
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise BrokenModelOutput("A texture of the model cannot be decoded.", code="broken_texture")
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])


def encode(pixels: Pixels, kind: str) -> Texture:
    """(h,w), (h,w,3) RGB or (h,w,4) RGBA uint8 as PNG or JPEG."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == JPEG else []
    if kind == PNG:
        options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_EFFORT]
    swapped: Any = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    done, data = cv2.imencode(SUFFIXES[kind], np.ascontiguousarray(swapped), options)
    if not done:
        raise BrokenModelOutput("A texture of the model cannot be encoded.", code="broken_texture")
    return Texture(data=data.tobytes(), mime_type=kind)


LINEAR_OF_BYTE = to_linear(np.arange(256, dtype=np.float32) / 255)
"""The linear value of each sRGB byte."""


def sample(pixels: Pixels, uvs: Floats, wrap: str) -> Floats:
    """Linear RGBA (n,4) at glTF texture coordinates (n,2), bilinear in linear light as a GPU does it."""
    height, width = pixels.shape[:2]
    x = _wrapped(uvs[:, 0].astype(np.float64), wrap) * width - 0.5
    y = _wrapped(uvs[:, 1].astype(np.float64), wrap) * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    across, down = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
    columns = [_texel(left, width, wrap), _texel(left + 1, width, wrap)]
    rows = [_texel(top, height, wrap), _texel(top + 1, height, wrap)]

    def row(number: int) -> Floats:
        texels = [_linear_rgba(pixels[rows[number], column]) for column in columns]
        mixed: Floats = texels[0] * (1 - across) + texels[1] * across
        return mixed

    found: Floats = row(0) * (1 - down) + row(1) * down
    return found


def _linear_rgba(texels: Pixels) -> Floats:
    found = np.ones((len(texels), 4), np.float32)
    found[:, :3] = LINEAR_OF_BYTE[texels[:, :3]]
    if texels.shape[1] == 4:
        found[:, 3] = texels[:, 3] / np.float32(255)
    return found


def _wrapped(values: npt.NDArray[np.float64], wrap: str) -> npt.NDArray[np.float64]:
    if wrap == "repeat":
        return values - np.floor(values)
    if wrap == "mirror":
        folded = np.mod(values, 2.0)
        return np.where(folded > 1, 2 - folded, folded)
    return np.clip(values, 0.0, 1.0)


def _texel(numbers: npt.NDArray[np.int64], size: int, wrap: str) -> npt.NDArray[np.int64]:
    return np.mod(numbers, size) if wrap == "repeat" else np.clip(numbers, 0, size - 1)
