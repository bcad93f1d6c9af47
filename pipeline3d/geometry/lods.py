"""Levels of detail: ever fewer faces and ever smaller pictures, each with how far it is from the original."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.closest import Surface
from pipeline3d.geometry.deviation import NO_DEVIATION, Deviation, measure_deviation
from pipeline3d.geometry.joining import join
from pipeline3d.geometry.mesh import Model, Texture, TexturedMesh
from pipeline3d.geometry.part_pictures import pictures_of, with_pictures
from pipeline3d.geometry.simplifying import FEWEST_FACES, simplify
from pipeline3d.geometry.texturing import JPEG, WEBP, Pixels, Role, read_pixels, resize, write_pixels

SHARES = (1.0, 0.5, 0.25, 0.1)
THREADS = 2
"""Levels that are made at the same time."""
LEAST_SIDE_PX = 64
"""Smaller pictures save nothing."""
QUALITIES = {JPEG: 88, WEBP: 85}


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
    `InvalidParameters` for shares that do not fall, and `UnusableInput` for pictures that cannot be read.
    """
    if not shares or any(not 0 < share <= 1 for share in shares) or any(np.diff(shares) >= 0):
        raise InvalidParameters(f"shares {tuple(shares)} do not fall from at most 1 towards 0")
    joined = join(model)
    source = Surface.of(model.surface())
    pictures = _Pictures()

    def shrink_all() -> None:
        for level in range(len(shares)):
            shrink_pictures(model, level, pictures)

    def build(share: float) -> Lod:
        target = max(FEWEST_FACES, round(share * model.face_count))
        found = simplify(model, target_faces=target, joined=joined)
        deviation = NO_DEVIATION
        if found.model is not model:
            prepared.result()
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
        prepared = threads.submit(source.prepare)  # first: the levels wait for it before they share it
        levels_made = threads.map(build, shares)
        shrunk = threads.submit(shrink_all)  # pictures do not hang on the faces that are left
        levels = list(levels_made)
        shrunk.result()
    return tuple(
        replace(found, model=shrink_pictures(found.model, level, pictures), texture_scale=0.5**level)
        for level, found in enumerate(levels)
    )


class _Pictures:
    """Decoded pictures, so that each is read once and halved from level to level."""

    def __init__(self) -> None:
        self._halves: dict[tuple[Texture, Role], list[Pixels]] = {}
        self._encoded: dict[tuple[Texture, Role, int], Texture] = {}

    def smaller(self, picture: Texture, role: Role, halvings: int) -> Texture:
        """The picture with its sides halved so many times, in the same format."""
        if halvings == 0:
            return picture
        halves = self._halves.setdefault((picture, role), [])
        if not halves:
            halves.append(read_pixels(picture))
        while len(halves) <= halvings:
            halves.append(_halve(halves[-1], role))
        key = (picture, role, halvings)
        if key not in self._encoded:
            small = halves[halvings]
            quality = QUALITIES.get(picture.mime_type, 0)
            self._encoded[key] = (
                picture
                if small.shape == halves[0].shape
                else write_pixels(small, picture.mime_type, quality=quality)
            )
        return self._encoded[key]


def _halve(pixels: Pixels, role: Role) -> Pixels:
    """Half as wide and high, as long as both sides stay above the least."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    return pixels if min(height, width) < LEAST_SIDE_PX else resize(pixels, (width, height), role)


def shrink_pictures(model: Model, halvings: int, pictures: _Pictures | None = None) -> Model:
    """The model with every picture's sides halved so many times, none below 64 pixels."""
    pictures = pictures or _Pictures()
    return Model(parts=tuple(_shrink_part(part, halvings, pictures) for part in model.parts))


def _shrink_part(part: TexturedMesh, halvings: int, pictures: _Pictures) -> TexturedMesh:
    found = pictures_of(part)
    return with_pictures(
        part, {place: pictures.smaller(texture, role, halvings) for place, (texture, role) in found.items()}
    )
