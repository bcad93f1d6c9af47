"""The closest point of a surface, for many points at once, without a compiled tree of triangles.

A k-d tree holds points spread over the surface, so many on a face as its area asks for and at least one;
the faces of the nearest few are measured exactly. What is found is a point of the surface, so a distance
is never understated, and hardly ever overstated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.face_directions import cross
from pipeline3d.geometry.mesh import TexturedMesh

Points = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SPREAD_POINTS = 40_000
"""Spread over a surface by area, beside the middle of each face."""
CANDIDATES = 6
"""Nearest spread points whose faces are measured."""
ROWS_AT_ONCE = 200_000
"""Pairs of point and triangle in one step: about 200 bytes are held for each."""
PLASTIC_NUMBER = 1.32471795724474602596
"""Its inverse powers spread points evenly over a square (Roberts 2018, the R2 sequence)."""
LEAST_LENGTH = 1e-300
SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Closest points: number of the face (k), barycentric weights of its corners (k,3), distance (k)."""

    faces: Indices
    weights: Points
    distances: Points


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """Triangles (m,3,3) made ready for questions about what is closest; at least one.

    With `normal_length` above 0, a surface that faces elsewhere counts as further away: opposite sides by
    twice that length, so that one side of a thin wall never answers for the other.
    """

    corners: Points
    normal_length: float = 0.0

    @classmethod
    def of(cls, mesh: TexturedMesh, *, normal_length: float = 0.0) -> Surface:
        """The surface of a mesh with faces."""
        return cls(corners=mesh.vertices.astype(np.float64)[mesh.faces], normal_length=normal_length)

    def prepare(self) -> None:
        """Work out all that is kept: threads may share the surface afterwards."""
        _ = (self.normals, self.areas, self.diagonal, self._tree, self._spheres)

    @cached_property
    def directions(self) -> Points:
        """(m,3): perpendicular to each face, as long as twice its area."""
        first, second, third = np.moveaxis(self.corners, 1, 0)
        return cross(second - first, third - first)

    @cached_property
    def normals(self) -> Points:
        """(m,3) unit; zero for faces without area."""
        lengths = np.linalg.norm(self.directions, axis=1, keepdims=True)
        units = np.divide(self.directions, lengths, out=np.zeros_like(self.directions), where=lengths > 0)
        return np.asarray(units, np.float64)

    @cached_property
    def areas(self) -> Points:
        """(m)."""
        return np.asarray(np.linalg.norm(self.directions, axis=1) / 2, np.float64)

    def spread(self, count: int) -> tuple[Points, Indices]:
        """About `count` points spread evenly by area (k,3) and their faces (k); the same ones each time."""
        ends = np.cumsum(self.areas)
        if not ends[-1] > 0:
            return self.corners[:, 0], np.arange(len(self.corners))
        faces = np.searchsorted(ends, (np.arange(count) + 0.5) / count * ends[-1])
        faces = np.minimum(faces, len(ends) - 1)
        steps = np.arange(1, count + 1)[:, None] / np.array([PLASTIC_NUMBER, PLASTIC_NUMBER**2])
        places = steps % 1.0
        outside = places.sum(axis=1) > 1
        places[outside] = 1 - places[outside]
        first, second, third = np.moveaxis(self.corners[faces], 1, 0)
        return first + places[:, :1] * (second - first) + places[:, 1:] * (third - first), faces

    @cached_property
    def _tree(self) -> tuple[Any, Indices]:
        from scipy.spatial import cKDTree

        spread, faces = self.spread(SPREAD_POINTS)
        points = np.concatenate([self.corners.mean(axis=1), spread])
        owners = np.concatenate([np.arange(len(self.corners)), faces])
        if self.normal_length > 0:
            points = np.concatenate([points, self.normal_length * self.normals[owners]], axis=1)
        return cKDTree(points, balanced_tree=False, compact_nodes=False), owners

    def closest(
        self, points: Points, *, normals: Points | None = None, candidates: int = CANDIDATES
    ) -> Found:
        """For points (k,3), with unit normals (k,3) of their own where the surface was made with a length."""
        if not len(points):
            return Found(faces=np.zeros(0, np.int64), weights=np.zeros((0, 3)), distances=np.zeros(0))
        tree, owners = self._tree
        asked = points
        if self.normal_length > 0:
            if normals is None:
                raise ValueError("a surface with normal_length needs the normals of the points")
            asked = np.concatenate([points, self.normal_length * normals], axis=1)
        _, nearest = tree.query(asked, k=min(candidates, len(owners)), workers=-1)
        nearest = nearest.reshape(len(points), -1)
        block = max(1, ROWS_AT_ONCE // nearest.shape[1])
        parts = [
            self._best(points[begin : begin + block], owners[nearest[begin : begin + block]])
            for begin in range(0, len(points), block)
        ]
        faces, weights, distances = (np.concatenate(values) for values in zip(*parts, strict=True))
        return Found(faces=faces, weights=weights, distances=distances)

    def exact_distance(self, point: Points, *, at_most: float) -> float:
        """From one point (3); every face whose bounding sphere is not beyond `at_most` is measured."""
        centres, radii = self._spheres
        away = centres - point
        near = np.flatnonzero(_dot(away, away) <= (at_most * (1 + SLACK) + radii) ** 2)
        if not len(near):
            return at_most
        _, squares = closest_on_triangles(np.repeat(point[None], len(near), axis=0), self.corners[near])
        return min(at_most, float(np.sqrt(squares.min())))

    @cached_property
    def _spheres(self) -> tuple[Points, Points]:
        centres = self.corners.mean(axis=1)
        reach = self.corners - centres[:, None]
        first, second, third = np.einsum("mij,mij->im", reach, reach)
        return centres, np.asarray(np.sqrt(np.maximum(np.maximum(first, second), third)), np.float64)

    @cached_property
    def diagonal(self) -> float:
        """Of the bounding box."""
        columns = self.corners.reshape(-1, 3).T  # a column at a time: reducing rows of three is slow
        return float(np.linalg.norm([np.ptp(column) for column in columns]))

    def _best(self, points: Points, faces: Indices) -> tuple[Indices, Points, Points]:
        count, width = faces.shape
        weights, squares = closest_on_triangles(
            np.repeat(points, width, axis=0), self.corners[faces.reshape(-1)]
        )
        best = squares.reshape(count, width).argmin(axis=1)
        rows = np.arange(count)
        chosen = rows * width + best
        return faces[rows, best], weights[chosen], np.sqrt(squares[chosen])


def closest_on_triangles(points: Points, corners: Points) -> tuple[Points, Points]:
    """Barycentric weights (k,3) and squared distance (k) of the closest point of each triangle (k,3,3).

    Where the foot of the perpendicular lies within the triangle it is the answer, elsewhere the closest
    point of the three edges is (Ericson 2005, Real-Time Collision Detection, 5.1.5, without its branches).
    """
    first = corners[:, 0]
    edge_b, edge_c, away = corners[:, 1] - first, corners[:, 2] - first, points - first
    bb, bc, cc = _dot(edge_b, edge_b), _dot(edge_b, edge_c), _dot(edge_c, edge_c)
    ab, ac, aa = _dot(away, edge_b), _dot(away, edge_c), _dot(away, away)
    area = bb * cc - bc * bc
    flat = area <= LEAST_LENGTH
    inverse = 1 / np.where(flat, 1, area)
    second, third = (cc * ab - bc * ac) * inverse, (bb * ac - bc * ab) * inverse
    inside = ~flat & (second >= 0) & (third >= 0) & (second + third <= 1)
    along_b = np.clip(ab / np.maximum(bb, LEAST_LENGTH), 0, 1)
    along_c = np.clip(ac / np.maximum(cc, LEAST_LENGTH), 0, 1)
    length = np.maximum(bb - 2 * bc + cc, LEAST_LENGTH)
    across = np.clip((ac - ab + bb - bc) / length, 0, 1)  # from the second corner towards the third
    zero = np.zeros_like(along_b)
    seconds = np.stack([np.where(inside, second, 0), along_b, zero, 1 - across])
    thirds = np.stack([np.where(inside, third, 0), zero, along_c, across])
    squares = (
        aa
        - 2 * (seconds * ab + thirds * ac)
        + seconds * seconds * bb
        + 2 * seconds * thirds * bc
        + thirds * thirds * cc
    )
    which = np.where(inside, 0, squares[1:].argmin(axis=0) + 1)
    rows = np.arange(len(points))
    second, third = seconds[which, rows], thirds[which, rows]
    gap = away - second[:, None] * edge_b - third[:, None] * edge_c
    return np.stack([1 - second - third, second, third], axis=1), _dot(gap, gap)


def _dot(one: Points, other: Points) -> Points:
    return np.asarray(np.einsum("ij,ij->i", one, other), np.float64)
