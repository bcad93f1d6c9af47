"""What simplifying must not do to a surface: open it, fork it, turn it over or lose a part of its size.

Faces are over places here (`topology.Points`), as seams split vertices that are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.face_directions import face_directions
from pipeline3d.geometry.topology import EdgeUses, count_edge_uses, face_keys

Integers = npt.NDArray[np.signedinteger]
Floats = npt.NDArray[np.floating]

MOST_FLIPPED = 0.01
"""Share of faces that look against the source's surface, beyond the source's own share."""
SAMPLED_FACES = 2_000
MOST_LOST = 0.1
"""Of the longest extent: a crumb may go, an arm may not."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Original:
    """The surface before: points (p,3), one for each place, and faces (m,3) over them.

    normals (p,3) are asked first where they agree with these faces: what agrees with them is not turned over.
    """

    points: Floats
    faces: Integers
    normals: Floats | None = None

    @cached_property
    def bad_edges(self) -> tuple[int, int]:
        """Edges of one face, and of more than two."""
        return count_bad_edges(self.faces, len(self.points))

    def prepare(self) -> None:
        """Work out what every check asks for."""
        _ = (self.extents, self._normals_agree)

    @cached_property
    def extents(self) -> npt.NDArray[np.float64]:
        """(3): of the points that faces use."""
        return measure_extents(self.points, self.faces)

    @cached_property
    def _normals_agree(self) -> bool:
        """Told from a sample; a stranger's normals may be zero, inverted or of another surface."""
        if self.normals is None:
            return False
        some = self.faces[:: 1 + len(self.faces) // SAMPLED_FACES]
        return _share_against(-face_directions(self.points, some), self.normals, some) > 1 - MOST_FLIPPED

    @cached_property
    def _outwards(self) -> npt.NDArray[np.float64]:
        """(p,3): the sum of the faces' directions around each place."""
        return sum_directions(self.points, self.faces)

    def flipped_share(self, faces: Integers) -> float:
        """Of faces (k,3) over the same places: those that look against this surface."""
        directions = face_directions(self.points, faces)
        if self._normals_agree and self.normals is not None:
            share = _share_against(directions, self.normals, faces)
            if share <= MOST_FLIPPED:
                return share
        return _share_against(directions, self._outwards, faces)


def find_damage(
    original: Original,
    points: Floats,
    faces: Integers,
    *,
    flipped_share: float | None = None,
    edges: EdgeUses | None = None,
) -> str:
    """Why faces (k,3) over points (p,3) must not replace the original; empty where they may.

    flipped_share is asked of the original where the points are its places; edges are the faces' own, where
    they are known already.
    """
    if not len(faces):
        return "no face is left"
    if not np.isfinite(points).all() or faces.min() < 0 or faces.max() >= len(points):
        return "a face or a vertex is not valid"
    uses = (edges or edges_of(faces, len(points))).uses
    open_edges, forked_edges = int((uses == 1).sum()), int((uses > 2).sum())
    if open_edges > 0 and open_edges > original.bad_edges[0]:
        return f"{open_edges} open edges, before {original.bad_edges[0]}"
    if forked_edges > 0 and forked_edges > original.bad_edges[1]:
        return f"{forked_edges} edges of more than two faces, before {original.bad_edges[1]}"
    before = original.extents
    lost = float((before - measure_extents(points, faces)).max() / max(before.max(), 1e-30))
    if lost > MOST_LOST:
        return f"{lost:.0%} of the size is lost"
    flipped = original.flipped_share(faces) if flipped_share is None else flipped_share
    if flipped > MOST_FLIPPED and flipped > MOST_FLIPPED + original.flipped_share(original.faces):
        return f"{flipped:.1%} of the faces are turned over"
    return ""


def count_bad_edges(faces: Integers, point_count: int) -> tuple[int, int]:
    """Edges of one face, and of more than two."""
    uses = edges_of(faces, point_count).uses
    return int((uses == 1).sum()), int((uses > 2).sum())


def edges_of(faces: Integers, point_count: int) -> EdgeUses:
    """All edges of faces (m,3), and how many faces use each."""
    return count_edge_uses(faces.astype(np.int32), point_count)


def find_fork_rings(original: Original, edges: EdgeUses) -> npt.NDArray[np.bool_]:
    """Places (p) to lock so that those of the edges that have more than two faces cannot come about again.

    At one end of each such edge, the place itself and its neighbours in the original: then its fan stays.
    """
    count = len(original.points)
    ring = np.zeros(count, bool)
    forked = edges.uses > 2
    if not forked.any():
        return ring
    one, other = edges.ends(forked)
    degree = np.bincount(original.faces.reshape(-1), minlength=count)
    ends = np.where(degree[one] <= degree[other], one, other)
    at_end = np.zeros(count, bool)
    at_end[ends] = True
    ring[original.faces[at_end[original.faces].any(axis=1)]] = True
    return ring


def measure_extents(points: Floats, faces: Integers) -> npt.NDArray[np.float64]:
    """(3): of the points that faces use."""
    used = np.zeros(len(points), bool)
    used[faces.reshape(-1)] = True
    columns = (points if used.all() else points[used]).T.astype(np.float64, order="C")
    return np.asarray(columns.max(axis=1) - columns.min(axis=1), np.float64)


def find_solid_faces(faces: Integers, point_count: int) -> npt.NDArray[np.bool_]:
    """(m) True but for faces with fewer than three places, and for pairs that lie face to face as a flap.

    Fans around the poles of a sphere fold to and fro when they are collapsed, so that there are more than two
    of a kind: as many are kept as there are more of one turn than of the other, no edge opens by that.
    """
    first, second, third = faces.T
    solid = (first != second) & (second != third) & (third != first)
    keys = face_keys(faces.astype(np.int32), point_count)
    order = np.argsort(keys, kind="stable")
    starts = np.append(True, keys[order[1:]] != keys[order[:-1]])
    if starts.all():
        return np.asarray(solid, bool)
    group = np.empty(len(faces), np.int64)
    group[order] = np.cumsum(starts) - 1
    rising = (first < second).astype(np.int64) + (second < third) + (third < first)
    turn = np.where(rising == 1, -1, 1) * solid
    surplus = np.bincount(group, weights=turn).astype(np.int64)
    kept = np.asarray(solid, bool)
    for way in (1, -1):
        members = order[turn[order] == way]
        owner = group[members]
        rank = np.arange(len(members)) - np.searchsorted(owner, owner)
        kept[members[rank >= np.maximum(way * surplus[owner], 0)]] = False
    return kept


def sum_directions(points: Floats, faces: Integers) -> npt.NDArray[np.float64]:
    """(p,3): at each point the sum of its faces' directions, weighted by area."""
    directions = face_directions(points, faces)
    corners = faces.reshape(-1)
    sums = [
        np.bincount(corners, weights=np.repeat(directions[:, axis], 3), minlength=len(points))
        for axis in range(3)
    ]
    return np.stack(sums, axis=1)


def _share_against(directions: Floats, normals: Floats, faces: Integers) -> float:
    expected = normals[faces[:, 0]] + normals[faces[:, 1]] + normals[faces[:, 2]]
    return float((np.einsum("ij,ij->i", directions, expected) < 0).mean())
