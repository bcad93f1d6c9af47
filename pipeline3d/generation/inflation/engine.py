"""`inflate-v1`: a cut-out photo becomes a closed, textured mesh without any weights.

The silhouette is inflated to a rounded body, the photo becomes its texture, the back side is inferred
from the front. Honest about what it is: a relief, not a reconstruction. Deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import UnusableInput
from pipeline3d.generation.inflation.atlas import encode_jpeg, paint_atlas
from pipeline3d.generation.inflation.body import MARGIN_CELLS, Body, inflate_silhouette
from pipeline3d.generation.inflation.relief import add_relief

ENGINE = "relief-inflate"
ENGINE_VERSION = "1.0"

Quality = Literal["fast", "balanced", "quality"]

SOLID_ALPHA = 128
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Rec. 601: how bright red, green and blue look."""
LEAST_TEXTURE_SIDE, MOST_TEXTURE_SIDE = 64, 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What a quality sets: grid cells along the object, faces at most, pixels of the texture's height."""

    cells: int
    faces: int
    texture_side: int


PRESETS: dict[Quality, Preset] = {
    "fast": Preset(cells=88, faces=12_000, texture_side=512),
    "balanced": Preset(cells=128, faces=30_000, texture_side=1024),
    "quality": Preset(cells=208, faces=80_000, texture_side=2048),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InflatedModel:
    """A closed mesh, Y up, photographed side towards +Z, standing on y = 0, longest side 1.

    vertices, normals (n,3) float32; faces (m,3) int32, counter-clockwise; uvs (n,2) float32 with the
    origin in the upper left corner; the texture is a JPEG of twice the width of its height.
    """

    vertices: npt.NDArray[np.float32]
    faces: npt.NDArray[np.int32]
    normals: npt.NDArray[np.float32]
    uvs: npt.NDArray[np.float32]
    texture_jpeg: bytes
    texture_side: int
    cells: int
    faces_before_simplification: int


def inflate(
    rgba: npt.NDArray[np.uint8],
    *,
    quality: Quality = "balanced",
    texture_resolution: int | None = None,
    seed: int = 0,
) -> InflatedModel:
    """The model of a cut-out, RGBA uint8 (s,s,4), straight alpha; the object is where alpha is 128 or more.

    `texture_resolution` is the height of the texture in pixels (64 to 4096; it is twice as wide: front and
    back), by default what the quality says. `seed` belongs to the contract that all generators share;
    nothing here is random. Raises `UnusableInput` (`no_clear_object`) where the picture shows nothing,
    `ValueError` for an array of another shape or a texture out of range.
    """
    if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.dtype != np.uint8:
        raise ValueError(f"RGBA uint8 (s, s, 4) is wanted, not {rgba.dtype} {rgba.shape}")
    preset = PRESETS[quality]
    side = texture_resolution or preset.texture_side
    if not LEAST_TEXTURE_SIDE <= side <= MOST_TEXTURE_SIDE:
        raise ValueError(f"texture_resolution {side} is outside {LEAST_TEXTURE_SIDE} to {MOST_TEXTURE_SIDE}")
    square = crop_to_object(rgba, preset.cells)
    alpha, luminance = sample_grid(square, preset.cells + 2 * MARGIN_CELLS)
    body = inflate_silhouette(alpha, target_faces=preset.faces)
    points = add_relief(body, luminance)
    return assemble(body, points, encode_jpeg(paint_atlas(square, side)), side)


def crop_to_object(rgba: npt.NDArray[np.uint8], cells: int) -> npt.NDArray[np.uint8]:
    """A square around the object with a margin of a few grid cells."""
    rows, columns = np.nonzero(rgba[..., 3] >= SOLID_ALPHA)
    if not len(rows):
        raise UnusableInput(
            "The cut-out shows nothing: no pixel is opaque.",
            code="no_clear_object",
            hint="Send a picture in which the object is opaque.",
            details={"confidence": 0.0},
        )
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    longest = max(bottom - top, right - left)
    side = int(longest + 2 * np.ceil(longest * MARGIN_CELLS / cells))
    y, x = (top + bottom - side) // 2, (left + right - side) // 2
    square = np.zeros((side, side, 4), np.uint8)
    height, width = rgba.shape[:2]
    y0, x0, y1, x1 = max(0, y), max(0, x), min(height, y + side), min(width, x + side)
    square[y0 - y : y1 - y, x0 - x : x1 - x] = rgba[y0:y1, x0:x1]
    return square


def sample_grid(
    square: npt.NDArray[np.uint8], cells: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Alpha (0 to 1) and luminance (0 to 255) of the square, averaged over (cells, cells)."""
    import cv2

    method = cv2.INTER_AREA if square.shape[0] > cells else cv2.INTER_LINEAR
    small = cv2.resize(square, (cells, cells), interpolation=method).astype(np.float64)
    return small[..., 3] / 255, small[..., :3] @ np.array(LUMA_WEIGHTS)


def assemble(body: Body, points: npt.NDArray[np.float32], texture: bytes, texture_side: int) -> InflatedModel:
    """Normals, a seam between front and back, planar coordinates, and the final pose."""
    faces = body.faces
    corners = points[faces].astype(np.float64)
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = vertex_normals(crosses, faces, len(points))
    source, split, on_front = split_along_seam(faces, crosses[:, 2] >= 0, len(points))
    u = (points[source, 0] + 0.5) / body.cells
    v = 1 - (points[source, 1] + 0.5) / body.cells
    uvs = np.stack([np.where(on_front, u / 2, 0.5 + u / 2), v], axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    foot = np.array([(low[0] + high[0]) / 2, low[1], 0.0], np.float32)
    return InflatedModel(
        vertices=((points[source] - foot) / (high - low).max()).astype(np.float32),
        faces=split,
        normals=normals[source].astype(np.float32),
        uvs=uvs.astype(np.float32),
        texture_jpeg=texture,
        texture_side=texture_side,
        cells=body.cells,
        faces_before_simplification=body.faces_before,
    )


def vertex_normals(
    crosses: npt.NDArray[np.float64], faces: npt.NDArray[np.int32], count: int
) -> npt.NDArray[np.float64]:
    """(count,3) unit normals, each the area-weighted mean of its faces' normals."""
    sums = np.stack(
        [
            np.bincount(faces.reshape(-1), weights=np.repeat(crosses[:, axis], 3), minlength=count)
            for axis in range(3)
        ],
        axis=1,
    )
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), [0.0, 0.0, 1.0])


def split_along_seam(
    faces: npt.NDArray[np.int32], is_front: npt.NDArray[np.bool_], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Two copies of the vertices that both halves use: source vertex of each, new faces, which half."""
    front, back = np.zeros(count, bool), np.zeros(count, bool)
    front[faces[is_front].reshape(-1)] = True
    back[faces[~is_front].reshape(-1)] = True
    number_front = np.cumsum(front) - 1
    number_back = front.sum() + np.cumsum(back) - 1
    renumbered = np.where(is_front[:, None], number_front[faces], number_back[faces]).astype(np.int32)
    source = np.concatenate([np.nonzero(front)[0], np.nonzero(back)[0]])
    return source, renumbered, np.arange(len(source)) < front.sum()
