"""Faces without width: their long edge is flipped, so that they become part of their neighbour's area."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.adjacency import find_adjacency
from pipeline3d.geometry.topology import Ids, half_edge_keys, next_half_edge
from pipeline3d.geometry.workpiece import Workpiece, with_copies

NO_WIDTH = 1e-6
"""Of its longest edge: no 32-bit coordinate holds less, and flipping moves the surface by no more."""
ROUNDS = 8
"""Slivers beside slivers are flipped one after the other."""


def flip_slivers(work: Workpiece) -> tuple[Workpiece, int]:
    """Flip the longest edge of every sliver; also how many. One at a rim or a crowded edge is left."""
    flipped = 0
    for _ in range(ROUNDS):
        work, count = _flip_once(work)
        if not count:
            break
        flipped += count
    return work, flipped


def _flip_once(work: Workpiece) -> tuple[Workpiece, int]:
    thin = np.flatnonzero(_widths(work.corners) <= NO_WIDTH)
    if not len(thin):
        return work, 0
    adjacency = find_adjacency(work, pair_crowded=False)
    corners = work.corners[thin]
    lengths = np.linalg.norm(corners[:, [1, 2, 0]] - corners, axis=2)
    longest = (3 * thin + lengths.argmax(axis=1)).astype(np.int32)
    mates = adjacency.mates[longest]
    usable = (mates != longest) & adjacency.agree[longest]
    longest, mates = _without_conflicts(longest[usable], mates[usable], len(work.faces))
    faces, welded = work.faces.reshape(-1), work.welded.reshape(-1)
    apex, far = next_half_edge(next_half_edge(longest)), next_half_edge(next_half_edge(mates))
    b, a, d = faces[mates], faces[next_half_edge(mates)], faces[far]
    seamless = (faces[longest] == a) & (faces[next_half_edge(longest)] == b)
    # Both new faces must have a width, and their common edge must not be there already.
    place = work.positions.astype(np.float64)
    m = faces[apex]
    first = np.stack([place[m], place[a], place[d]], axis=1)
    second = np.stack([place[d], place[b], place[m]], axis=1)
    better = (_widths(first) > NO_WIDTH) & (_widths(second) > NO_WIDTH)
    keys, _ = half_edge_keys(work.welded, work.point_count)
    one, other = welded[apex].astype(np.int64), welded[far].astype(np.int64)
    new_edges = np.minimum(one, other) * work.point_count + np.maximum(one, other)
    better &= ~np.isin(new_edges, keys)
    _, first_of_each = np.unique(new_edges, return_index=True)
    better &= np.isin(np.arange(len(new_edges)), first_of_each)
    if not better.any():
        return work, 0
    longest, mates = longest[better], mates[better]
    a, b, d, m, seamless = a[better], b[better], d[better], m[better], seamless[better]
    work, m = _across_seams(work, a, b, m, seamless)
    changed = work.faces.copy()
    changed[longest // 3] = np.stack([m, a, d], axis=1)
    changed[mates // 3] = np.stack([d, b, m], axis=1)
    return replace(work, faces=changed), len(longest)


def _widths(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each triangle's height over its longest edge, in lengths of that edge (k,)."""
    edges = corners[:, [1, 2, 0]] - corners
    longest = np.einsum("ijk,ijk->ij", edges, edges).max(axis=1)
    doubled = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    widths = np.zeros(len(corners))
    np.divide(doubled, longest, out=widths, where=longest > 0)
    return widths


def _without_conflicts(longest: Ids, mates: Ids, face_count: int) -> tuple[Ids, Ids]:
    """Flips that share no face: of those that do, the first."""
    claims = np.full(face_count, len(longest), np.int64)
    numbers = np.arange(len(longest))
    np.minimum.at(claims, longest // 3, numbers)
    np.minimum.at(claims, mates // 3, numbers)
    free = (claims[longest // 3] == numbers) & (claims[mates // 3] == numbers)
    return longest[free], mates[free]


def _across_seams(
    work: Workpiece, a: Ids, b: Ids, m: Ids, seamless: npt.NDArray[np.bool_]
) -> tuple[Workpiece, Ids]:
    """Where the long edge is a seam the middle point needs the neighbour's colour and texture place."""
    crossing = np.flatnonzero(~seamless)
    if not len(crossing):
        return work, m
    longer, fresh = with_copies(work, a[crossing])
    start, end, middle = (work.positions[v[crossing]].astype(np.float64) for v in (a, b, m))
    along = end - start
    share = np.einsum("ij,ij->i", middle - start, along) / np.einsum("ij,ij->i", along, along)
    mixed = {}
    for name in ("normals", "uvs", "colours"):
        values = getattr(longer, name).copy()
        one, other = values[a[crossing]].astype(np.float64), values[b[crossing]].astype(np.float64)
        between = one + share[:, None] * (other - one)
        values[fresh] = np.round(between) if name == "colours" else between
        mixed[name] = values
    positions, points = longer.positions.copy(), longer.points.copy()
    positions[fresh], points[fresh] = work.positions[m[crossing]], work.points[m[crossing]]
    m = m.copy()
    m[crossing] = fresh
    return replace(longer, positions=positions, points=points, **mixed), m
