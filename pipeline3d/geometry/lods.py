"""Levels of detail: ever fewer faces and ever smaller pictures, each with how far it is from the original."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry.closest import Surface
from pipeline3d.geometry.deviation import NO_DEVIATION, Deviation, measure_deviation
from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.simplifying import FEWEST_FACES, simplify

SHARES = (1.0, 0.5, 0.25, 0.1)
THREADS = 2
"""Levels that are made at the same time."""
LEAST_SIDE_PX = 64
"""Smaller pictures save nothing."""
MOST_PIXELS = 16_384**2
JPEG_QUALITY, WEBP_QUALITY = 88, 85
EXTENSIONS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lod:
    """One level: the share of faces asked for, what was got, and its measured distance from the original.

    `texture_scale` is the side of its pictures against the original's. `reached` is False where the surface
    could not be made so small; `rejected` says why.
    """

    share: float
    model: Model
    faces: int
    deviation: Deviation
    library: str
    reached: bool
    texture_scale: float
    rejected: tuple[str, ...] = ()


def build_lods(model: Model, *, shares: Sequence[float] = SHARES) -> tuple[Lod, ...]:
    """One level for each share (1 to just above 0, falling), each simplified from the original.

    A share of 1 is the model itself. Every further level halves the pictures. Raises what `simplify` does,
    `InvalidParameters` for shares that do not fall, and `UnusableInput` (`broken_texture`).
    """
    if not shares or any(not 0 < share <= 1 for share in shares) or any(np.diff(shares) >= 0):
        raise InvalidParameters(f"shares {tuple(shares)} do not fall from at most 1 towards 0")
    source = Surface.of(model.surface()) if model.face_count else None
    if source is not None and len(shares) > 1:
        source.prepare()  # before threads share it

    def build(share: float) -> Lod:
        found = simplify(model, target_faces=max(FEWEST_FACES, round(share * model.face_count)))
        deviation = NO_DEVIATION
        if found.model is not model and source is not None:
            deviation = measure_deviation(source, Surface.of(found.model.surface()))
        return Lod(
            share=share,
            model=found.model,
            faces=found.model.face_count,
            deviation=deviation,
            library=found.library,
            reached=found.reached,
            texture_scale=1.0,
            rejected=found.rejected,
        )

    with ThreadPoolExecutor(THREADS) as threads:  # the libraries and NumPy's large steps let others run
        levels = list(threads.map(build, shares))
    pictures = _Pictures()
    return tuple(
        replace(found, model=shrink_pictures(found.model, level, pictures), texture_scale=0.5**level)
        for level, found in enumerate(levels)
    )


class _Pictures:
    """Decoded pictures, so that each is read once and halved from level to level."""

    def __init__(self) -> None:
        self._halves: dict[tuple[bytes, bool], list[npt.NDArray[np.uint8]]] = {}
        self._encoded: dict[tuple[bytes, bool, int], bytes] = {}

    def smaller(self, data: bytes, mime_type: str, halvings: int, *, are_normals: bool) -> bytes:
        """The picture with its sides halved so many times, in the same format."""
        if halvings == 0:
            return data
        key = (data, are_normals)
        halves = self._halves.setdefault(key, [])
        if not halves:
            halves.append(_decode(data))
        while len(halves) <= halvings:
            halves.append(_halve(halves[-1], are_normals=are_normals))
        encoded = (data, are_normals, halvings)
        if encoded not in self._encoded:
            same = halves[halvings].shape == halves[0].shape
            self._encoded[encoded] = data if same else _encode(halves[halvings], mime_type)
        return self._encoded[encoded]


def shrink_pictures(model: Model, halvings: int, pictures: _Pictures | None = None) -> Model:
    """The model with every picture's sides halved so many times, none below 64 pixels."""
    pictures = pictures or _Pictures()
    return Model(parts=tuple(_shrink_part(part, halvings, pictures) for part in model.parts))


def _shrink_part(part: TexturedMesh, halvings: int, pictures: _Pictures) -> TexturedMesh:
    def smaller(picture: Texture | None, *, are_normals: bool = False) -> Texture | None:
        if picture is None:
            return None
        data = pictures.smaller(picture.data, picture.mime_type, halvings, are_normals=are_normals)
        return replace(picture, data=data)

    material: Material = replace(
        part.material,
        metallic_roughness=smaller(part.material.metallic_roughness),
        normal=smaller(part.material.normal, are_normals=True),
        occlusion=smaller(part.material.occlusion),
        emissive=smaller(part.material.emissive),
    )
    if part.texture is None:
        return replace(part, material=material)
    data = pictures.smaller(part.texture, part.texture_mime_type, halvings, are_normals=False)
    return replace(part, material=material, texture=data)


def _decode(data: bytes) -> npt.NDArray[np.uint8]:
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None or pixels.shape[0] * pixels.shape[1] > MOST_PIXELS:
        raise UnusableInput(
            "a texture cannot be read",
            code="broken_texture",
            hint="Send JPEG, PNG or WebP of at most 16384 pixels a side.",
        )
    if pixels.dtype != np.uint8:
        pixels = (pixels // 257).astype(np.uint8)
    return np.asarray(pixels, np.uint8)


def _halve(pixels: npt.NDArray[np.uint8], *, are_normals: bool) -> npt.NDArray[np.uint8]:
    """Means of four, as long as both sides stay above the least; normals become unit length again."""
    import cv2

    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    if min(height, width) < LEAST_SIDE_PX:
        return pixels
    small = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if not are_normals or small.ndim != 3:
        return small
    vectors = small[..., :3].astype(np.float32) / np.float32(127.5) - 1
    vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32(1e-6))
    small[..., :3] = np.rint((vectors + 1) * np.float32(127.5))
    return small


def _encode(pixels: npt.NDArray[np.uint8], mime_type: str) -> bytes:
    import cv2

    options = {
        "image/jpeg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        "image/webp": [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY],
    }
    if mime_type not in EXTENSIONS:
        raise UnusableInput(f"a texture is of the type {mime_type}", code="broken_texture")
    done, content = cv2.imencode(EXTENSIONS[mime_type], pixels, options.get(mime_type, []))
    if not done:
        raise UnusableInput(f"a texture cannot be written as {mime_type}", code="broken_texture")
    return bytes(content)
