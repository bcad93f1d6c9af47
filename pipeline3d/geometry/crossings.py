"""Faces that run through each other, found in a grid: what slicers and booleans stumble over."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.ray_grid import RayGrid
from pipeline3d.geometry.topology import Ids, weld

Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

MOST_PAIRS = 60_000_000
"""Of faces in a common cell: more only where most of a model is crammed into a corner of its bounds."""
CLEARLY = 1e-6
"""Of the sizes at hand: faces that merely touch do not cross."""


def count_crossing_faces(model: Model) -> int | None:
    """How many faces are run through by an edge of a face that shares no point with them, or the other way.

    Faces that lie in one plane on top of each other are not seen. None where it would take too long to say,
    or where coordinates are no numbers.
    """
    surface = model.surface()
    if not np.isfinite(surface.vertices).all():
        return None
    if len(surface.faces) < 2:
        return 0
    welded = weld(surface.vertices).labels[surface.faces]
    corners = surface.vertices.astype(np.float64)[surface.faces]
    grid = RayGrid.build(corners)
    sizes = np.diff(grid.starts)
    if int((sizes * (sizes - 1) // 2).sum()) > MOST_PAIRS:
        return None
    low, high = corners.min(axis=1), corners.max(axis=1)
    crossing = np.zeros(len(corners), bool)
    for one, other in _pairs_in_cells(grid):
        near = ((low[one] <= high[other]) & (low[other] <= high[one])).all(axis=1)
        one, other = one[near], other[near]
        apart = _share_no_point(welded, one, other)
        one, other = one[apart], other[apart]
        met = _pierces(corners[one], corners[other]) | _pierces(corners[other], corners[one])
        crossing[one[met]] = True
        crossing[other[met]] = True
    return int(crossing.sum())


def _pairs_in_cells(grid: RayGrid) -> Iterator[tuple[Numbers, Numbers]]:
    """Each two members of a cell once per cell, as many at a time as there are members: bounded memory."""
    cell = np.repeat(np.arange(len(grid.starts) - 1), np.diff(grid.starts))
    rest = np.arange(len(cell))
    offset = 0
    while len(rest):
        offset += 1
        rest = rest[rest + offset < len(cell)]
        rest = rest[cell[rest] == cell[rest + offset]]
        yield grid.members[rest], grid.members[rest + offset]


def _share_no_point(welded: Ids, one: Numbers, other: Numbers) -> npt.NDArray[np.bool_]:
    same = np.zeros(len(one), bool)
    for mine in range(3):
        for theirs in range(3):
            same |= welded[one, mine] == welded[other, theirs]
    return ~same


def _pierces(edges_of: Doubles, faces: Doubles) -> npt.NDArray[np.bool_]:
    """Whether an edge of each of the triangles (k,3,3) clearly runs through the other triangle (k,3,3)."""
    a, b, c = faces.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    size = np.linalg.norm(normal, axis=1)
    found = np.zeros(len(faces), bool)
    heights = np.einsum("ijk,ik->ij", edges_of - a[:, None], normal)
    reach = size * np.abs(edges_of - a[:, None]).max(axis=(1, 2)) if len(faces) else size
    for start, end in ((0, 1), (1, 2), (2, 0)):
        from_height, to_height = heights[:, start], heights[:, end]
        through = np.flatnonzero(
            (from_height * to_height < 0)
            & (np.minimum(np.abs(from_height), np.abs(to_height)) > CLEARLY * reach)
        )
        share = from_height[through] / (from_height[through] - to_height[through])
        place = edges_of[through, start] + share[:, None] * (
            edges_of[through, end] - edges_of[through, start]
        )
        within = np.ones(len(through), bool)
        for left, right in ((a, b), (b, c), (c, a)):
            side = np.einsum(
                "ij,ij->i",
                np.cross(right[through] - left[through], place - left[through]),
                normal[through],
            )
            within &= side > CLEARLY * size[through] ** 2
        found[through] |= within
    return found
