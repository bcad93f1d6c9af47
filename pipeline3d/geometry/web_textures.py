"""A model's pictures for the web: no larger than asked, in few bytes, and measured against what they were.

The lowest quality whose loss cannot be seen is taken. Pictures that are small enough and would not become
smaller stay as they are, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from pipeline3d.geometry import ktx2
from pipeline3d.geometry.mesh import Model, Texture, TexturedMesh
from pipeline3d.geometry.part_pictures import BASE, pictures_of, with_pictures
from pipeline3d.geometry.texturing import (
    FORMATS,
    JPEG,
    PNG,
    WEBP,
    Likeness,
    Pixels,
    Role,
    compare_pixels,
    drop_alpha,
    mean_angle_deg,
    read_pixels,
    shrink,
    write_pixels,
)

TextureFormat = Literal["webp", "jpeg", "ktx2", "keep"]
"""`keep` resizes only what is too large, in its own format."""
QUALITIES = {WEBP: (80, 88, 95), JPEG: (85, 92, 97)}
LEAST_SSIM, LEAST_PSNR_DB = 0.96, 30.0
"""Colour. PSNR alone asks too much of noise, which hides errors, and too little of smooth shades."""
LEAST_DATA_PSNR_DB = 36.0
"""Metallic-roughness and occlusion: a step is a 60th of the range."""
MOST_NORMAL_ERROR_DEG = 1.0
"""Mean; more shows in highlights. Lossy WebP halves the resolution of colour, and so of directions."""
THREADS = 2


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One picture in one meaning; the same file may be colour here and data there."""

    texture: Texture
    role: Role
    transparent: bool


@contextmanager
def compressing_textures(
    model: Model, *, longest_px: int, texture_format: TextureFormat
) -> Iterator[Callable[[], Model]]:
    """Compress all pictures in threads; what is given waits for them and returns the model with them."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="texture")
    started: dict[_Wanted, Future[Texture]] = {}
    try:
        for wanted in _pictures_of(model):
            if wanted not in started:
                started[wanted] = pool.submit(
                    compress_texture,
                    wanted.texture,
                    wanted.role,
                    longest_px=longest_px,
                    texture_format=texture_format,
                    transparent=wanted.transparent,
                )

        def finish() -> Model:
            done = {wanted: future.result() for wanted, future in started.items()}
            return Model(parts=tuple(_with_done(part, done) for part in model.parts))

        yield finish
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def compress_texture(
    texture: Texture, role: Role, *, longest_px: int, texture_format: TextureFormat, transparent: bool = True
) -> Texture:
    """One picture, at most `longest_px` a side. Without `transparent` its alpha is dropped.

    Raises UnusableInput for pictures that cannot be read, ModelNotReady where KTX2 has no encoder.
    """
    pixels = read_pixels(texture)
    has_alpha = pixels.shape[2] == 4
    if has_alpha and not (transparent and role == "colour"):
        pixels = drop_alpha(pixels)
    small = shrink(pixels, longest_px, role)
    if texture_format == "ktx2":
        return ktx2.encode_ktx2(small, role)
    kind = _choose_type(texture, texture_format, transparent=small.shape[2] == 4)
    unchanged = small is pixels and pixels.shape[2] == (4 if has_alpha else 3)
    if texture_format == "keep" and unchanged:
        return texture
    smaller = _encode_alike(small, role, kind)
    keeps = unchanged and texture.mime_type in FORMATS and len(texture.data) <= len(smaller.data)
    return texture if keeps else smaller


def _choose_type(texture: Texture, texture_format: TextureFormat, *, transparent: bool) -> str:
    kind = {"webp": WEBP, "jpeg": JPEG}.get(texture_format, texture.mime_type)
    return PNG if kind not in FORMATS or (kind == JPEG and transparent) else kind


def _encode_alike(pixels: Pixels, role: Role, kind: str) -> Texture:
    """The picture at the first quality that cannot be told from it.

    Where none is near enough, colour has the best of them, and what a renderer computes with is kept whole.
    """
    written: Texture | None = None
    for quality in QUALITIES.get(kind, ()):
        written = write_pixels(pixels, kind, quality=quality)
        if looks_alike(pixels, read_pixels(written), role):
            return written
    if written is not None and role == "colour":
        return written
    return write_pixels(pixels, WEBP if kind == WEBP else PNG, lossless=True)


def looks_alike(source: Pixels, found: Pixels, role: Role) -> bool:
    """Whether the difference cannot be seen: SSIM and PSNR of colour, PSNR of data, angles of normals."""
    if role == "normal":
        return mean_angle_deg(source, found) <= MOST_NORMAL_ERROR_DEG
    likeness: Likeness = compare_pixels(source, found)
    if role == "data":
        return likeness.psnr_db >= LEAST_DATA_PSNR_DB
    return likeness.ssim >= LEAST_SSIM and likeness.psnr_db >= LEAST_PSNR_DB


def _pictures_of(model: Model) -> Iterator[_Wanted]:
    for part in model.parts:
        yield from _wanted_of(part).values()


def _wanted_of(part: TexturedMesh) -> dict[str, _Wanted]:
    """The part's pictures by their place in it; only the base colour may be seen through."""
    see_through = part.material.alpha_mode != "OPAQUE"
    return {
        place: _Wanted(texture, role, see_through and place == BASE)
        for place, (texture, role) in pictures_of(part).items()
    }


def _with_done(part: TexturedMesh, done: dict[_Wanted, Texture]) -> TexturedMesh:
    return with_pictures(part, {place: done[wanted] for place, wanted in _wanted_of(part).items()})
