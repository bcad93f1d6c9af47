"""Vertex colours as a texture without unwrapping: a cell of 2×2 texels for each triangle.

Quick Look shows no `displayColor`, so what a USDZ is to show must be a picture. The corners of a triangle
lie on the centres of three texels and the fourth continues the plane through them, so bilinear filtering
gives the very colours that interpolation between the vertices gives, unless that texel would have to be
brighter than white or darker than black, as between three corners of very different colours. Cells follow
the Morton order of the triangles' centres in the atlas and in space, so that a smaller mip level mixes
neighbours on the surface. Linear in the faces, and indifferent to how awkward they are; unlike xatlas it
suits nobody who paints.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.colour_space import to_srgb
from pipeline3d.geometry.formats.pictures import Pixels
from pipeline3d.geometry.mesh import Floats, TexturedMesh

CELL = 2
"""Texels on each side of a cell."""
LARGEST_SIDE = 8192
MOST_FACES = (LARGEST_SIDE // CELL) ** 2
CORNERS = np.array([[0.5, 0.5], [1.5, 0.5], [0.5, 1.5]])
"""Of a triangle in its cell, in texels: the centres of the upper left, upper right and lower left one."""


def fits(part: TexturedMesh) -> bool:
    """Whether the largest picture has a cell for every face."""
    return len(part.faces) <= MOST_FACES


def bake_cells(part: TexturedMesh) -> tuple[Pixels, Floats]:
    """The picture, (s,s,4) sRGB with linear alpha, and UVs (m,3,2) for each face's corners, v from above."""
    if part.colours is None:
        raise ValueError("the part has no vertex colours")
    cells_a_side = 1 << max(int(np.ceil(np.log2(max(len(part.faces), 1)) / 2)), 1)
    order = np.argsort(_morton_codes(part), kind="stable")
    column, row = _unfold(np.arange(len(order), dtype=np.uint64))
    corners = part.colours[part.faces[order]].astype(np.float32) / np.float32(255)
    turns = _best_turns(corners)
    corners = np.take_along_axis(corners, turns[..., None], axis=1)
    beyond = np.clip(corners[:, 1] + corners[:, 2] - corners[:, 0], 0, 1)
    side = cells_a_side * CELL
    picture = np.zeros((side, side, 4), np.uint8)
    for (right, down), colour in zip(
        ((0, 0), (1, 0), (0, 1), (1, 1)), (*corners.transpose(1, 0, 2), beyond), strict=True
    ):
        picture[row * CELL + down, column * CELL + right] = _as_bytes(colour)
    uvs = np.empty((len(order), 3, 2), np.float32)
    starts = np.stack([column, row], axis=1).astype(np.float64) * CELL
    uvs[order[:, None], turns] = (starts[:, None] + CORNERS) / side
    return picture, uvs


def _best_turns(corners: Floats) -> npt.NDArray[np.int64]:
    """Which corner (m,3) comes first in each cell: the one whose opposite texel is least out of range."""
    total = corners.sum(axis=1, keepdims=True)
    beyond = total - 2 * corners
    excess = np.maximum(np.maximum(-beyond, beyond - 1), 0).sum(axis=2)
    turns: npt.NDArray[np.int64] = (excess.argmin(axis=1)[:, None] + np.arange(3)) % 3
    return turns


def _as_bytes(linear: Floats) -> Pixels:
    found = linear.copy()
    found[:, :3] = to_srgb(linear[:, :3])
    return (found * 255 + 0.5).astype(np.uint8)


def _morton_codes(part: TexturedMesh) -> npt.NDArray[np.uint64]:
    """Of the faces' centres in a grid of 1024 cells a side over the part's bounds."""
    centres = part.vertices[part.faces].astype(np.float64).mean(axis=1)
    low = centres.min(axis=0)
    extent = float((centres.max(axis=0) - low).max())
    cells = ((centres - low) * (1023.0 / extent if extent > 0 else 0.0)).astype(np.uint64)
    x, y, z = (_spread(cells[:, axis]) for axis in range(3))
    codes: npt.NDArray[np.uint64] = x | y << np.uint64(1) | z << np.uint64(2)
    return codes


def _spread(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The ten low bits, each two places further apart."""
    for shift, mask in ((16, 0x30000FF), (8, 0x300F00F), (4, 0x30C30C3), (2, 0x9249249)):
        values = (values | values << np.uint64(shift)) & np.uint64(mask)
    return values


def _unfold(numbers: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Position along the plane's Morton curve → column and row."""
    return _every_second_bit(numbers), _every_second_bit(numbers >> np.uint64(1))


def _every_second_bit(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    values = values & np.uint64(0x5555555555555555)
    for shift, mask in ((1, 0x3333333333333333), (2, 0x0F0F0F0F0F0F0F0F), (4, 0x00FF00FF00FF00FF)):
        values = (values | values >> np.uint64(shift)) & np.uint64(mask)
    values = (values | values >> np.uint64(8)) & np.uint64(0x0000FFFF0000FFFF)
    return values.astype(np.int64)
