"""The pictures on a surface as numbers to look up: decoded once, in smaller and smaller versions.

A picture seen from afar is looked up in a version whose pixels are about as large as the samples
(Williams 1983), or it would flicker and alias.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.colour_space import to_linear

Floats = npt.NDArray[np.float32]
Kind = Literal["colour", "colour_alpha", "data"]
Wrap = Literal["clamp", "repeat", "mirror"]

FULL = 65535
"""Values are uint16: linear light needs more than 8 bits, and half of float's memory is enough."""
FOLD = 1024
"""Width of the grid that samples are folded into; OpenCV takes up to 32767."""
LEAST_SIDE = 8
MOST_PIXELS = 16384 * 16384
"""A larger picture is refused before it is decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureMap:
    """One picture: `levels` holds (h,w,3 or 4) uint16, each half as large as the one before."""

    levels: tuple[npt.NDArray[np.uint16], ...]
    wrap: Wrap

    def sample(self, uvs: Floats, footprint: Floats) -> Floats:
        """Bilinear values (k,3 or 4), 0 to 1, at (k,2); `footprint` (k,) is the share of the picture's area
        that one sample covers."""
        height, width = self.levels[0].shape[:2]
        texels = np.maximum(footprint * np.float32(height * width), 1)
        level = np.minimum((np.log2(texels) * 0.5 + 0.4).astype(np.int32), len(self.levels) - 1)
        lowest, highest = int(level.min()), int(level.max())
        if lowest == highest:
            return _look_up(self.levels[lowest], uvs, self.wrap)
        values = np.empty((len(uvs), self.levels[0].shape[2]), np.float32)
        for number in range(lowest, highest + 1):
            chosen = np.flatnonzero(level == number)
            if len(chosen):
                values[chosen] = _look_up(self.levels[number], uvs[chosen], self.wrap)
        return values


def read_picture_map(data: bytes, kind: Kind, wrap: Wrap, *, most_side: int) -> PictureMap:
    """Decode a PNG, JPEG or WebP; `colour` pictures become linear light, `data` stays as it is.

    Sides above `most_side` are made smaller. Raises `BrokenModelOutput` (`broken_texture`).
    """
    import cv2

    pixels = decode_pixels(data, alpha=kind == "colour_alpha")
    height, width = pixels.shape[:2]
    shrink = most_side / max(height, width)
    if shrink < 1:
        size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    straight = np.arange(256, dtype=np.uint16) * 257
    light = np.round(to_linear(np.arange(256, dtype=np.float32) / 255) * FULL).astype(np.uint16)
    table = straight if kind == "data" else light
    values = np.asarray(cv2.LUT(pixels, table), np.uint16)
    if kind == "colour_alpha":
        values[..., 3] = straight[pixels[..., 3]]
    levels = [values]
    while min(levels[-1].shape[:2]) >= 2 * LEAST_SIDE:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint16))
    return PictureMap(tuple(levels), wrap)


def decode_pixels(data: bytes, *, alpha: bool) -> npt.NDArray[np.uint8]:
    """(h,w,3) RGB, or (h,w,4) with `alpha`; turned as glTF wants it, which knows no EXIF."""
    import cv2
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise _broken("has more pixels than fit into memory") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise _broken("is no picture") from error
    if width * height > MOST_PIXELS:
        raise _broken(f"has {width} x {height} pixels, more than fit into memory")
    flags = cv2.IMREAD_UNCHANGED if alpha else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _broken("cannot be decoded") from error
    if decoded is None:
        raise _broken("is no picture")
    if decoded.dtype == np.uint16:
        decoded = (decoded // 256).astype(np.uint8)
    if decoded.dtype != np.uint8:
        raise _broken(f"has pixels of type {decoded.dtype}")
    if not alpha:
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    if decoded.ndim == 2:
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGBA), np.uint8)
    to_rgba = cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGBA
    return np.asarray(cv2.cvtColor(decoded, to_rgba), np.uint8)


def _look_up(pixels: npt.NDArray[np.uint16], uvs: Floats, wrap: Wrap) -> Floats:
    """Bilinear, in one version of the picture."""
    import cv2

    height, width, channels = pixels.shape
    places = uvs
    if wrap == "repeat":
        places = uvs - np.floor(uvs)
    elif wrap == "mirror":
        places = np.abs(uvs - 2 * np.round(uvs / 2))
    else:
        places = np.clip(uvs, 0, 1)
    rows = -(-len(uvs) // FOLD)  # OpenCV samples grids, so the list is folded into one
    grid = np.zeros((2, rows * FOLD), np.float32)
    grid[:, : len(uvs)] = places.T * np.array([[width], [height]], np.float32) - np.float32(0.5)
    x, y = grid.reshape(2, rows, FOLD)
    border = cv2.BORDER_WRAP if wrap == "repeat" else cv2.BORDER_REPLICATE
    found = cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(found, np.float32).reshape(-1, channels)[: len(uvs)] * np.float32(1 / FULL)


def _broken(reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"A texture of the mesh {reason}.", code="broken_texture")
