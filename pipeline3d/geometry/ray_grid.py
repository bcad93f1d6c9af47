"""A uniform grid over triangles that many rays walk at once, without a compiled library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

MOST_CELLS_ALONG = 96
MOST_ENTRIES_PER_TRIANGLE = 16
PARALLEL = 1e-14
MOST_PAIRS_AT_ONCE = 4_000_000
"""Of rays and triangles: bounds the memory where a cell holds most of a model."""


@dataclass(frozen=True, slots=True, eq=False)
class RayGrid:
    """triangles (m,3,3), and which of them touch each cell: those of c are members[starts[c]:starts[c+1]]."""

    triangles: Doubles
    low: Doubles
    cell: Doubles
    shape: Numbers
    starts: Numbers
    members: Numbers

    @classmethod
    def build(cls, triangles: Doubles) -> RayGrid:
        """Each triangle is in every cell that its bounds touch; coarser where that would be many."""
        low, high = triangles.min(axis=(0, 1)), triangles.max(axis=(0, 1))
        extents = np.maximum(high - low, 1e-6 * max(float((high - low).max()), 1e-30))
        along = int(np.clip(np.sqrt(len(triangles) / 4), 1, MOST_CELLS_ALONG))
        while True:
            shape = np.maximum(np.ceil(extents / extents.max() * along), 1).astype(np.int64)
            cell = extents / shape * (1 + 1e-9)
            first = np.floor((triangles.min(axis=1) - low) / cell).astype(np.int64)
            last = np.floor((triangles.max(axis=1) - low) / cell).astype(np.int64)
            first, last = np.clip(first, 0, shape - 1), np.clip(last, 0, shape - 1)
            counts = (last - first + 1).prod(axis=1)
            if along == 1 or counts.sum() <= MOST_ENTRIES_PER_TRIANGLE * len(triangles):
                break
            along //= 2
        members = np.repeat(np.arange(len(triangles)), counts)
        within = np.arange(len(members)) - np.repeat(np.cumsum(counts) - counts, counts)
        spans = (last - first + 1)[members]
        z = within % spans[:, 2]
        y = within // spans[:, 2] % spans[:, 1]
        x = within // (spans[:, 2] * spans[:, 1])
        cells = first[members] + np.stack([x, y, z], axis=1)
        numbers = (cells[:, 0] * shape[1] + cells[:, 1]) * shape[2] + cells[:, 2]
        order = np.argsort(numbers, kind="stable")
        starts = np.zeros(int(shape.prod()) + 1, np.int64)
        np.cumsum(np.bincount(numbers, minlength=len(starts) - 1), out=starts[1:])
        return cls(triangles, low, cell, shape, starts, members[order])

    def first_hits(
        self, origins: Doubles, directions: Doubles, *, facing: Doubles, nearest: float, furthest: float
    ) -> tuple[Numbers, Doubles]:
        """The first triangle that each ray leaves through, -1 for none, and its distance.

        Rays start within the bounds, directions are unit vectors; `facing` are the triangles' normals, and
        only those that look along the ray count. All rays step from cell to cell together (Amanatides and
        Woo 1987), each until nothing in its next cells can be nearer than what it has found.
        """
        found, best = np.full(len(origins), -1, np.int64), np.full(len(origins), furthest)
        at = np.clip(np.floor((origins - self.low) / self.cell).astype(np.int64), 0, self.shape - 1)
        forward = np.where(directions >= 0, 1, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = (self.low + (at + (forward > 0)) * self.cell - origins) / directions
            step = np.abs(self.cell / directions)
        still = np.abs(directions) < PARALLEL
        crossing[still], step[still] = np.inf, np.inf
        active, entered = np.arange(len(origins)), np.zeros(len(origins))
        while len(active):
            self._test(active, at[active], origins, directions, facing, nearest, found, best)
            axis = crossing[active].argmin(axis=1)
            entered[active] = crossing[active, axis]
            at[active, axis] += forward[active, axis]
            crossing[active, axis] += step[active, axis]
            inside = (at[active, axis] >= 0) & (at[active, axis] < self.shape[axis])
            active = active[inside & (entered[active] < best[active])]
        return found, best

    def _test(
        self,
        rays: Numbers,
        cells: Numbers,
        origins: Doubles,
        directions: Doubles,
        facing: Doubles,
        nearest: float,
        found: Numbers,
        best: Doubles,
    ) -> None:
        """Intersect each ray with the members of its cell (Moeller and Trumbore 1997)."""
        numbers = (cells[:, 0] * self.shape[1] + cells[:, 1]) * self.shape[2] + cells[:, 2]
        counts = self.starts[numbers + 1] - self.starts[numbers]
        if len(rays) > 1 and int(counts.sum()) > MOST_PAIRS_AT_ONCE:
            for half in (slice(None, len(rays) // 2), slice(len(rays) // 2, None)):
                self._test(rays[half], cells[half], origins, directions, facing, nearest, found, best)
            return
        ray = np.repeat(rays, counts)
        offsets = np.arange(len(ray)) - np.repeat(np.cumsum(counts) - counts, counts)
        triangle = self.members[np.repeat(self.starts[numbers], counts) + offsets]
        along = directions[ray]
        leaving = np.einsum("ij,ij->i", along, facing[triangle]) > 0
        ray, triangle, along = ray[leaving], triangle[leaving], along[leaving]
        a, b, c = self.triangles[triangle].transpose(1, 0, 2)
        one, other = b - a, c - a
        across = np.cross(along, other)
        size = np.einsum("ij,ij->i", one, across)
        with np.errstate(divide="ignore", invalid="ignore"):
            away = origins[ray] - a
            u = np.einsum("ij,ij->i", away, across) / size
            turned = np.cross(away, one)
            v = np.einsum("ij,ij->i", along, turned) / size
            distance = np.einsum("ij,ij->i", other, turned) / size
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > nearest) & (distance < best[ray])
        ray, triangle, distance = ray[hit], triangle[hit], distance[hit]
        # The nearest last, so that it is what remains written.
        order = np.argsort(-distance, kind="stable")
        best[ray[order]], found[ray[order]] = distance[order], triangle[order]
