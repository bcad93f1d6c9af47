"""Which texel shows which place of a surface, and what texels beyond the charts show.

Textures have their origin in the upper left corner and rows downwards, as glTF's coordinates do. The same
walk over triangles is in `generation.triposr.baking`: the rooms do not know each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]

MOST_CANDIDATES = 1_000_000
"""Texels looked at together: about 100 bytes are held for each."""
EDGE_SLACK = 1e-6
"""Barycentric; a texel exactly on an edge belongs to both faces."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texels:
    """Flat index of each texel (k), its face (k) and barycentric weights (k,3); a texel comes once.

    `overlap` is the share of covered texels that more than one face claims, edges apart.
    """

    index: Indices
    face: Indices
    weights: npt.NDArray[np.float64]
    overlap: float


def find_texels(uvs: Floats, faces: npt.NDArray[np.integer], side: int) -> Texels:
    """Texels of a square texture whose centres lie in faces (m,3) over uvs (n,2) within 0 to 1."""
    corners = uvs.astype(np.float64)[faces] * side
    boxes = np.ceil(corners.max(axis=1) - corners.min(axis=1) + 1).prod(axis=1)
    block = (np.cumsum(boxes) // MOST_CANDIDATES).astype(np.int64)
    ends = np.flatnonzero(np.diff(block, append=block[-1:] + 1)) + 1
    found = [_walk(corners[begin:end], begin, side) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    if not found:
        nothing = np.zeros(0, np.int64)
        return Texels(index=nothing, face=nothing, weights=np.zeros((0, 3)), overlap=0.0)
    face, weights, texel = (np.concatenate(parts) for parts in zip(*found, strict=True))
    face, weights, texel = _add_small_faces(corners, face, weights, texel, side)
    row = np.full(side * side, -1, np.int64)
    row[texel[::-1]] = np.arange(len(texel))[::-1]  # the first one that claims it
    index = np.flatnonzero(row >= 0)
    claims = np.bincount(texel[weights.min(axis=1) > EDGE_SLACK], minlength=side * side)
    overlap = float((claims > 1).sum()) / max(1, len(index))
    return Texels(index=index, face=face[row[index]], weights=weights[row[index]], overlap=overlap)


def _add_small_faces(
    corners: npt.NDArray[np.float64],
    face: Indices,
    weights: npt.NDArray[np.float64],
    texel: Indices,
    side: int,
) -> tuple[Indices, npt.NDArray[np.float64], Indices]:
    """Faces between texel centres get the texel around their middle, last in line.

    Otherwise they would show what is nearest in the picture, which may be from the surface's other end.
    """
    missing = np.ones(len(corners), bool)
    missing[face] = False
    small = np.flatnonzero(missing)
    column, row = np.clip(corners[small].mean(axis=1), 0, side - 1).astype(np.int64).T
    # at an edge of all weights, so that they count as no overlap
    middle = np.tile([0.5, 0.5, 0.0], (len(small), 1))
    return (
        np.concatenate([face, small]),
        np.concatenate([weights, middle]),
        np.concatenate([texel, row * side + column]),
    )


def find_nearest(index: Indices, side: int) -> Indices:
    """For every texel (side * side) the row of `index` (k, at least one) that is nearest to it.

    So that gutters show what is beside them: neither bilinear filtering at a seam nor a smaller mip level
    sees a background.
    """
    import cv2

    outside = np.ones(side * side, np.uint8)
    outside[index] = 0
    _, labels = cv2.distanceTransformWithLabels(
        outside.reshape(side, side), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    flat = np.asarray(labels, np.int64).reshape(-1)
    row = np.zeros(int(flat.max()) + 1, np.int64)
    row[flat[index]] = np.arange(len(index))
    return row[flat]


def _walk(
    corners: npt.NDArray[np.float64], begin: int, side: int
) -> tuple[Indices, npt.NDArray[np.float64], Indices]:
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, side).astype(np.int64)
    high = np.clip(np.floor(corners.max(axis=1) - 0.5) + 1, 0, side).astype(np.int64)
    face, row = _expand(low[:, 1], high[:, 1])
    line, column = _expand(low[face, 0], high[face, 0])
    face, row = face[line], row[line]
    first = corners[:, 0]
    edge_b, edge_c = corners[:, 1] - first, corners[:, 2] - first
    area = edge_b[:, 0] * edge_c[:, 1] - edge_b[:, 1] * edge_c[:, 0]
    inverse = np.divide(1, area, out=np.zeros_like(area), where=area != 0)
    across, down = column + 0.5 - first[face, 0], row + 0.5 - first[face, 1]
    second = (across * edge_c[face, 1] - down * edge_c[face, 0]) * inverse[face]
    third = (down * edge_b[face, 0] - across * edge_b[face, 1]) * inverse[face]
    weights = np.stack([1 - second - third, second, third], axis=1)
    inside = (weights.min(axis=1) >= -EDGE_SLACK) & (area[face] != 0)
    return face[inside] + begin, weights[inside], (row * side + column)[inside]


def _expand(begin: Indices, end: Indices) -> tuple[Indices, Indices]:
    """Number of the range, and the integers of it, for each of the ranges begin to end (exclusive)."""
    lengths = np.maximum(end - begin, 0)
    owner = np.repeat(np.arange(len(begin)), lengths)
    before = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner)) - before[owner] + begin[owner]
