"""Pictures that the tests draw: shaded toys with a known silhouette, before easy and hard backdrops.

Every drawing comes with its true matte, so that a cut-out can be measured against it. Deterministic
for the same arguments. These are drawings, not photographs; real photographs come from the wheels of
scikit-learn and scikit-image, see `real_photograph`.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]
Window = tuple[slice, slice]
"""Rows and columns of a picture. Most of a picture is wall: an object's parts are computed where they are."""

OBJECTS = ("apple", "mug", "teddy", "vase")
BACKDROPS = ("plain", "graded", "noisy", "shadowed")

LIGHT = np.array([-0.45, -0.6, 0.66], np.float32)
"""Towards the light: from the upper left and the front; y runs down as in the picture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """rgb uint8 (s,s,3), and the object's true coverage float32 (s,s) from 0 to 1."""

    rgb: Pixels
    truth: Floats


@dataclass(frozen=True, slots=True)
class Part:
    """A shaded piece in a window (h,w) of the picture: coverage (h,w), normal (h,w,3), colour in 0 to 1."""

    window: Window
    coverage: Floats
    normal: Floats
    colour: Colour


@functools.lru_cache(maxsize=32)
def draw(subject: str, backdrop: str, *, size: int = 512, seed: int = 0) -> Drawing:
    """One of `OBJECTS` before one of `BACKDROPS`. Drawn once for many tests, so nobody may write into it."""
    parts = {"apple": _apple, "mug": _mug, "teddy": _teddy, "vase": _vase}[subject](size)
    rgb = draw_backdrop(backdrop, size=size, seed=seed).astype(np.float32) / 255
    truth = np.zeros((size, size), np.float32)
    if backdrop == "shadowed":
        rgb *= (1 - _soft_shadow(parts, size))[..., None]
    for part in parts:
        facing = np.clip(part.normal @ LIGHT, 0, 1)
        light = 0.38 + 0.62 * facing
        glint = 0.25 * facing**30
        shaded = np.array(part.colour, np.float32) * light[..., None] + glint[..., None]
        part_of_all = part.coverage[..., None]
        rgb[part.window] = rgb[part.window] * (1 - part_of_all) + shaded * part_of_all
        truth[part.window] = np.maximum(truth[part.window], part.coverage)
    drawing = Drawing(rgb=(np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8), truth=truth)
    for pixels in (drawing.rgb, drawing.truth):
        pixels.setflags(write=False)
    return drawing


def draw_backdrop(backdrop: str, *, size: int = 512, seed: int = 0) -> Pixels:
    """A backdrop alone, (size,size,3) uint8."""
    x, y = _coordinates(size)
    shade = {
        "plain": np.full_like(x, 0.86),
        "graded": 0.82 - 0.22 * y + 0.06 * x - 0.05 * x * x,
        "noisy": np.full_like(x, 0.72),
        "shadowed": 0.8 - 0.08 * y,
    }[backdrop]
    tint = np.array([1.0, 0.99, 0.96], np.float32)
    pixels = shade[..., None] * tint
    grain = {"plain": 0.0, "graded": 0.006, "noisy": 0.035, "shadowed": 0.01}[backdrop]
    if grain:
        pixels = pixels + np.random.default_rng(seed).normal(0, 1, pixels.shape) * grain
    return (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)


def draw_noise(*, size: int = 256, seed: int = 0) -> Pixels:
    """Nothing but noise, (size,size,3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def draw_text_page(*, size: int = 384) -> Pixels:
    """A page full of lines of text, (size,size,3) uint8."""
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (size, size), (250, 250, 246))
    pen = ImageDraw.Draw(page)
    for line in range(10, size - 14, 16):
        pen.text((12, line), "the quick brown fox jumps over the lazy dog " * 2, fill=(20, 20, 20))
    return np.asarray(page)


def cut_out_drawing(subject: str, *, size: int = 512) -> Pixels:
    """An object with its true alpha, RGBA uint8 (size,size,4): what a perfect cut-out would give."""
    drawing = draw(subject, "plain", size=size)
    return np.dstack([drawing.rgb, (drawing.truth * 255 + 0.5).astype(np.uint8)])


def encode(pixels: npt.NDArray[Any], file_format: str = "PNG", **options: Any) -> bytes:
    """An array as the bytes of a file; a PNG quickly, and larger than it might be."""
    from PIL import Image

    if file_format == "PNG":
        options = {"compress_level": 1, **options}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def real_photograph(name: str) -> bytes:
    """A photograph that comes with an installed library, such as "flower.jpg" or "coffee.png"."""
    import importlib.util

    for package, folder in (("sklearn", "datasets/images"), ("skimage", "data")):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            path = Path(found.origin).parent / folder / name
            if path.exists():
                return path.read_bytes()
    raise FileNotFoundError(f"{name} comes with neither scikit-learn nor scikit-image")


def overlap(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((first & second).sum() / (first | second).sum())


def _coordinates(size: int) -> tuple[Floats, Floats]:
    """x to the right and y down, -1 to 1, at the pixels' centres."""
    axis = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


def _soften(distance: Floats, size: int) -> Floats:
    """Coverage from a signed distance that is negative inside: a step one pixel wide."""
    return np.clip(0.5 - distance * size / 2, 0, 1).astype(np.float32)


def _ball(size: int, centre: tuple[float, float], radii: tuple[float, float], colour: Colour) -> Part:
    softened = 1 + 1 / (size * min(radii))
    window, x, y = _around(size, centre, (radii[0] * softened, radii[1] * softened))
    u, v = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    radius = np.sqrt(u * u + v * v)
    depth = np.sqrt(np.clip(1 - radius**2, 0, 1))
    normal = np.stack([u, v, depth + 0.15], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return Part(window, _soften((radius - 1) * min(radii), size), normal, colour)


def _around(
    size: int, centre: tuple[float, float], reach: tuple[float, float]
) -> tuple[Window, Floats, Floats]:
    """The window no farther than `reach` from `centre`, a pixel wider on each side; x and y in it."""
    columns, rows = (
        slice(max(0, int((middle - far + 1) / 2 * size - 0.5) - 1), int((middle + far + 1) / 2 * size) + 2)
        for middle, far in zip(centre, reach, strict=True)
    )
    x, y = _coordinates(size)
    return (rows, columns), x[rows, columns], y[rows, columns]


def _turned(window: Window, x: Floats, half_width: Floats, coverage: Floats, colour: Colour) -> Part:
    """A body of revolution about the vertical axis through the middle."""
    across = np.clip(x / np.maximum(half_width, 1e-3), -1, 1)
    normal = np.stack([across, np.zeros_like(across), np.sqrt(1 - across**2) + 0.1], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return Part(window, coverage, normal, colour)


def _apple(size: int) -> list[Part]:
    return [
        _ball(size, (0.03, -0.58), (0.035, 0.16), (0.36, 0.22, 0.12)),
        _ball(size, (0.0, 0.05), (0.55, 0.52), (0.82, 0.12, 0.1)),
        _ball(size, (0.2, -0.56), (0.19, 0.08), (0.25, 0.55, 0.16)),
    ]


def _mug(size: int) -> list[Part]:
    window, x, y = _around(size, (0.061, 0.05), (0.541 + 1 / size, 0.5 + 1 / size))
    half = np.full_like(x, 0.36)
    corner = np.maximum(np.abs(x + 0.12) - 0.36 + 0.06, np.abs(y - 0.05) - 0.5 + 0.06)
    box = np.hypot(
        np.maximum(np.abs(x + 0.12) - 0.30, 0), np.maximum(np.abs(y - 0.05) - 0.44, 0)
    ) + np.minimum(corner, 0)
    across = np.clip((x + 0.12) / half, -1, 1)
    normal = np.stack([across, 0 * across, np.sqrt(1 - across**2) + 0.1], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    body = Part(window, _soften(box - 0.06, size), normal, (0.16, 0.36, 0.72))
    u, v = (x - 0.27) / 0.27, (y - 0.05) / 0.3
    radius = np.hypot(u, v)
    ring = np.abs(radius - 1) * 0.27 - 0.062
    tube = np.clip((radius - 1) * 0.27 / 0.062, -1, 1)
    bent = np.stack([u * tube, v * tube, np.sqrt(1 - tube**2) + 0.15], axis=-1)
    bent /= np.linalg.norm(bent, axis=-1, keepdims=True)
    return [Part(window, _soften(ring, size), bent, (0.16, 0.36, 0.72)), body]


def _teddy(size: int) -> list[Part]:
    fur, pale, dark = (0.62, 0.4, 0.2), (0.86, 0.7, 0.5), (0.1, 0.07, 0.06)
    mirrored = [
        ((0.3, -0.66), (0.15, 0.15), fur),
        ((0.44, 0.12), (0.15, 0.3), fur),
        ((0.26, 0.66), (0.2, 0.2), fur),
    ]
    parts = [
        _ball(size, (side * x, y), radii, colour) for (x, y), radii, colour in mirrored for side in (-1, 1)
    ]
    parts += [
        _ball(size, (0, 0.3), (0.4, 0.44), fur),
        _ball(size, (0, 0.34), (0.25, 0.29), pale),
        _ball(size, (0, -0.4), (0.38, 0.34), fur),
        _ball(size, (0, -0.28), (0.18, 0.14), pale),
        _ball(size, (0, -0.35), (0.055, 0.04), dark),
    ]
    return parts + [_ball(size, (side * 0.15, -0.48), (0.045, 0.05), dark) for side in (-1, 1)]


def _vase(size: int) -> list[Part]:
    window, x, y = _around(size, (0, 0), (0.45 + 1 / size, 0.75 + 1 / size))
    half = 0.22 + 0.2 * np.cos((y - 0.15) * 3.4) ** 2 * (y < 0.61) + 0.1 * np.clip(-y - 0.5, 0, 1)
    half = half.astype(np.float32)
    distance = np.maximum(np.abs(x) - half, np.abs(y) - 0.75).astype(np.float32)
    return [_turned(window, x, half, _soften(distance, size), (0.1, 0.5, 0.42))]


def _soft_shadow(parts: list[Part], size: int) -> Floats:
    """How much light (s,s) the object takes away from the backdrop on its lower right."""
    import cv2

    whole = np.zeros((size, size), np.float32)
    for part in parts:
        whole[part.window] = np.maximum(whole[part.window], part.coverage)
    moved = np.roll(whole, (size // 40, size // 14), axis=(0, 1))
    lowest = int(np.flatnonzero((whole > 0.5).any(axis=1))[-1])
    x, y = _coordinates(size)
    contact = np.exp(-((x / 0.5) ** 2) - ((y - (lowest / size * 2 - 1)) / 0.07) ** 2)
    cast = cv2.GaussianBlur(moved, (0, 0), size / 30)
    return np.asarray(0.16 * cast + 0.22 * contact, np.float32)
