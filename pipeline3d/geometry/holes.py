"""Rims of a surface, and the faces that cover them.

A hole's faces take their texture place and colour from its rim. Where a seam crosses the rim, or materials
meet at it, the whole cover takes those of one place of the rim, so that no picture is smeared across.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.adjacency import Adjacency, find_adjacency
from pipeline3d.geometry.topology import Ids, connect, half_edge_keys, next_half_edge
from pipeline3d.geometry.workpiece import Workpiece, face_normals, with_copies

SMALL_HOLE = 0.05
"""Of the diagonal: a wider rim may be the mouth of a vessel or the edge of a cloth, and is left."""
SMALL_COVER = 0.02
"""Of the piece's area: a coarse surface that lacks a few faces has a hole that is wide but small."""
COARSE_RIM = 8
MOST_COVER = 0.1
"""Of the piece's area, for narrow rims too: a loose triangle is not to become a pillow."""
FLAT = 0.95
"""A piece whose rims span this share of its own area is a sheet: covering it would enclose nothing."""
MOST_HOLES = 20_000
SAME_WAY = 0.5
"""Cosine: covers that look further away from their rim's normals are shaded on their own."""


Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rims:
    """Closed rims: their half edges in no order, the rim of each (labels), which one follows each (by index).

    Per rim: how many edges it has, and whether it is chosen to be covered.
    """

    half_edges: npt.NDArray[np.int64]
    labels: Ids
    follower: npt.NDArray[np.int64]
    edges: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.bool_]


def fill_holes(work: Workpiece, *, which: Literal["small", "all"]) -> tuple[Workpiece, int]:
    """Cover small holes, or all openings of what is no flat sheet; also how many."""
    adjacency = find_adjacency(work)
    rims = _find_rims(work, adjacency, which)
    if not rims.chosen.any():
        return work, 0
    return _Covers(work, rims).applied()


def _find_rims(work: Workpiece, adjacency: Adjacency, which: Literal["small", "all"]) -> Rims:
    half, follower = _follow_rims(work, adjacency)
    count, labels = connect(len(half), np.arange(len(half), dtype=np.int32), follower.astype(np.int32))
    place = work.positions[work.faces.reshape(-1)[half]].astype(np.float64)
    edges = np.bincount(labels, minlength=count)
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(count))
    if not count:
        return Rims(half, labels, follower, edges, np.zeros(0, bool))
    low, high = np.minimum.reduceat(place[order], starts), np.maximum.reduceat(place[order], starts)
    size = np.linalg.norm(high - low, axis=1)
    middle = (low + high)[labels] / 2
    turning = np.cross(place - middle, place[follower] - middle) / 2
    vector = np.stack([np.bincount(labels, turning[:, axis], count) for axis in range(3)], axis=1)
    cover = np.linalg.norm(vector, axis=1)
    patch_count, patch = adjacency.patches()
    area = np.bincount(patch, np.linalg.norm(face_normals(work), axis=1) / 2, patch_count)
    owner = np.empty(count, np.int64)
    owner[labels] = patch[half // 3]
    own = area[owner]
    if which == "all":
        spanned = np.bincount(owner, cover, patch_count)
        chosen = spanned[owner] < FLAT * own
    else:
        coarse = (edges <= COARSE_RIM) & (cover <= SMALL_COVER * own)
        chosen = coarse | ((size <= SMALL_HOLE * work.diagonal) & (cover <= MOST_COVER * own))
    chosen &= edges > 2
    if chosen.sum() > MOST_HOLES:
        chosen &= np.cumsum(chosen) <= MOST_HOLES
    return Rims(half, labels, follower, edges, chosen)


def _follow_rims(
    work: Workpiece, adjacency: Adjacency
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Half edges without a partner that form closed rims, and the index of the one after each.

    In a fan of faces one such half edge starts and one ends; where that is not so, faces are wound
    differently or form no surface, and the rim is left out.
    """
    half = adjacency.rims
    count, fans = adjacency.fans()
    start, end = fans[half], fans[next_half_edge(half)]
    single = (np.bincount(start, minlength=count) == 1) & (np.bincount(end, minlength=count) == 1)
    found = np.full(count, -1, np.int64)
    found[start] = np.arange(len(half))
    follower = np.where(single[end], found[end], -1) if len(half) else found[:0]
    # A chain that breaks off somewhere is no rim: leave out all of it.
    linked = np.flatnonzero(follower >= 0)
    _, chain = connect(len(half), linked.astype(np.int32), follower[linked].astype(np.int32))
    broken = np.zeros(len(half) + 1, bool)
    broken[chain[follower < 0]] = True
    whole = ~broken[chain] if len(half) else np.zeros(0, bool)
    numbers = np.cumsum(whole) - 1
    half, follower = half[whole], numbers[follower[whole]]
    _untie(work.welded.reshape(-1)[half], follower)
    return half, follower


def _untie(starts: Ids, follower: npt.NDArray[np.int64]) -> None:
    """Part rims that come by a point several times, like an eight, into simple ones (changes `follower`).

    Two holes that touch are one rim if it is followed along the faces. Only such rims are walked, each once.
    """
    count, labels = connect(len(starts), np.arange(len(starts), dtype=np.int32), follower.astype(np.int32))
    visits = labels.astype(np.int64) * (int(starts.max(initial=0)) + 1) + starts
    order = np.argsort(visits)
    again = order[1:][visits[order[1:]] == visits[order[:-1]]]
    _, firsts = np.unique(labels, return_index=True)
    for first in firsts[np.unique(labels[again])].tolist():
        walked: list[int] = []
        place_of: dict[int, int] = {}
        index = first
        while True:
            point = int(starts[index])
            following = int(follower[index])
            if point in place_of:
                ring = walked[place_of[point] :]
                del walked[place_of[point] :]
                for member in ring:
                    place_of.pop(int(starts[member]))
                follower[ring[-1]] = ring[0]
                if walked:
                    follower[walked[-1]] = index
            place_of[point] = len(walked)
            walked.append(index)
            index = following
            if index == first:
                break
        follower[walked[-1]] = walked[0]


class _Covers:
    """Collects the faces and vertices of all covers, then puts them on at once."""

    def __init__(self, work: Workpiece, rims: Rims) -> None:
        self.work, self.rims = work, rims
        keys, _ = half_edge_keys(work.welded, work.point_count)
        self.edges = np.sort(keys)
        self.sources: list[int] = []
        self.lookalikes: list[int] = []
        self.normals: dict[int, Doubles] = {}
        self.middles: dict[int, Doubles] = {}
        self.faces: list[npt.NDArray[np.int64]] = []

    def applied(self) -> tuple[Workpiece, int]:
        """The covered workpiece, and how many rims were covered."""
        rims = self.rims
        order = np.argsort(rims.labels, kind="stable")
        first = order[np.searchsorted(rims.labels[order], np.flatnonzero(rims.chosen))]
        for start, length in zip(first.tolist(), rims.edges[rims.chosen].tolist(), strict=True):
            loop = np.empty(length, np.int64)
            index = start
            for step in range(length):
                loop[step] = index
                index = int(rims.follower[index])
            # The cover runs against the rim.
            self._cover(rims.half_edges[loop[::-1]])
        longer, fresh = with_copies(self.work, np.array(self.sources, np.int32))
        like = np.array(self.lookalikes, np.int32)
        arrays = {name: getattr(longer, name).copy() for name in ("part_of", "uvs", "colours")}
        for values in arrays.values():
            values[fresh] = values[like]
        normals, positions, points = longer.normals.copy(), longer.positions.copy(), longer.points.copy()
        for number, normal in self.normals.items():
            normals[fresh[number]] = normal
        for number, place in self.middles.items():
            positions[fresh[number]] = place
        added = fresh[list(self.middles)]
        points[added] = longer.point_count + np.arange(len(added), dtype=np.int32)
        result = replace(
            longer,
            part_of=arrays["part_of"],
            uvs=arrays["uvs"],
            colours=arrays["colours"],
            normals=normals,
            positions=positions,
            points=points,
            point_count=longer.point_count + len(added),
            faces=np.concatenate([longer.faces, *self.faces]).astype(np.int32),
        )
        return result, len(first)

    def _cover(self, half_edges: npt.NDArray[np.int64]) -> None:
        """One rim, given in the order in which its cover runs around; each edge of it runs the other way."""
        work = self.work
        ends = work.faces.reshape(-1)[next_half_edge(half_edges)]
        rim = ends
        places = work.positions[rim].astype(np.float64)
        normal = _loop_normal(places)
        # A point is the end of its own rim edge and the start of the one before it, here the last one.
        starts = np.roll(work.faces.reshape(-1)[half_edges], 1)
        seamless = bool((rim == starts).all() and (work.part_of[rim] == work.part_of[rim[0]]).all())
        given = work.normals[rim]
        agree = not given.any() or bool((given @ normal >= SAME_WAY).all())
        corners: npt.NDArray[np.int64] = rim.astype(np.int64)
        if not (seamless and agree):
            corners = np.array(
                [self._copy(v, v if seamless else rim[0], None if agree else normal) for v in rim], np.int64
            )
        triangles = _triangulate(places, normal)
        if triangles is None or self._repeats_an_edge(work.points[rim], triangles):
            middle = self._copy(rim[0], rim[0], normal)
            self.middles[middle - len(work.positions)] = places.mean(axis=0)
            around = np.roll(corners, -1)
            self.faces.append(np.column_stack([corners, around, np.full(len(corners), middle)]))
        else:
            self.faces.append(corners[triangles])

    def _copy(self, vertex: int, lookalike: int, normal: Doubles | None) -> int:
        """A new vertex where `vertex` is, with the part, colour and UV of another; its number."""
        if normal is not None and self.work.normals[vertex].any():
            self.normals[len(self.sources)] = normal
        self.sources.append(int(vertex))
        self.lookalikes.append(int(lookalike))
        return len(self.work.positions) + len(self.sources) - 1

    def _repeats_an_edge(self, points: Ids, triangles: npt.NDArray[np.int64]) -> bool:
        """Whether an inner edge of a cover is one that the surface has already: it would get four faces."""
        ends = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        apart = np.abs(ends[:, 0] - ends[:, 1])
        inner = points[ends[(apart > 1) & (apart < len(points) - 1)]].astype(np.int64)
        if not len(inner):
            return False
        keys = inner.min(axis=1) * self.work.point_count + inner.max(axis=1)
        found = np.searchsorted(self.edges, keys)
        return bool((self.edges[np.minimum(found, len(self.edges) - 1)] == keys).any())


def _loop_normal(places: Doubles) -> Doubles:
    """The unit normal of a closed polygon (k,3) by Newell's method; upwards for one without area."""
    centred = places - places.mean(axis=0)
    vector = np.cross(centred, np.roll(centred, -1, axis=0)).sum(axis=0)
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else np.array([0.0, 1.0, 0.0])


def _triangulate(places: Doubles, normal: Doubles) -> npt.NDArray[np.int64] | None:
    """Triangles (k-2,3) over a closed polygon, wound as it is; None where it has none."""
    if len(places) == 3:
        return np.array([[0, 1, 2]])
    manifold3d: Any = importlib.import_module("manifold3d")  # its types are not found

    across = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    across /= np.linalg.norm(across)
    flat = np.column_stack([places @ across, places @ np.cross(normal, across)])
    triangles = np.asarray(manifold3d.triangulate([flat - flat.mean(axis=0)]), np.int64).reshape(-1, 3)
    return triangles if len(triangles) == len(places) - 2 else None
