"""Which half edges belong together, also where more than two faces meet at an edge.

There the faces are ordered by their angle around the edge, and those that bound the same piece of inside are
paired: solids that merely touch stay apart. What finds no partner is a rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.topology import Ids, connect, half_edge_keys, next_half_edge, split_key
from pipeline3d.geometry.workpiece import Workpiece

PAIRING_ROUNDS = 16
"""Of neighbours in the order around an edge, like brackets; 2^16 faces at one edge need no more."""


@dataclass(frozen=True, slots=True, eq=False)
class Adjacency:
    """mates (3 m,): each half edge's partner, itself at a rim; forward (3 m,): does it run low to high."""

    mates: Ids
    forward: npt.NDArray[np.bool_]
    non_manifold_edges: int

    @property
    def rims(self) -> npt.NDArray[np.int64]:
        """The half edges without a partner."""
        return np.flatnonzero(self.mates == np.arange(len(self.mates)))

    @property
    def agree(self) -> npt.NDArray[np.bool_]:
        """For each half edge whether its partner runs the other way, as it should."""
        return np.not_equal(self.forward, self.forward[self.mates])

    def patches(self) -> tuple[int, Ids]:
        """Pieces of faces that share edges: how many, and each face's piece (m,)."""
        one = np.flatnonzero(self.mates > np.arange(len(self.mates)))
        return connect(len(self.mates) // 3, (one // 3).astype(np.int32), self.mates[one] // 3)

    def fans(self) -> tuple[int, Ids]:
        """Fans of faces around points: how many, and each corner's fan (3 m,)."""
        one = np.flatnonzero(self.mates > np.arange(len(self.mates))).astype(np.int32)
        other = self.mates[one]
        crossed = self.forward[one] != self.forward[other]
        next_one, next_other = next_half_edge(one), next_half_edge(other)
        near, far = np.where(crossed, next_other, other), np.where(crossed, other, next_other)
        return connect(
            len(self.mates), np.concatenate([one, next_one]), np.concatenate([near, far]).astype(np.int32)
        )


def find_adjacency(work: Workpiece, *, pair_crowded: bool = True) -> Adjacency:
    """Partners of all half edges; without `pair_crowded` edges of more than two faces count as rims."""
    keys, forward = half_edge_keys(work.welded, work.point_count)
    order = np.argsort(keys)
    starts = np.flatnonzero(np.append(True, keys[order[1:]] != keys[order[:-1]])) if len(keys) else order
    uses = np.diff(np.append(starts, len(keys)))
    mates = np.arange(len(keys), dtype=np.int32)
    pairs = starts[uses == 2]
    mates[order[pairs]], mates[order[pairs + 1]] = order[pairs + 1], order[pairs]
    crowded = uses > 2
    if pair_crowded and crowded.any():
        members = order[np.repeat(crowded, uses)]
        groups = np.repeat(np.arange(int(crowded.sum())), uses[crowded])
        _pair_around_edges(work, members, groups, keys, forward, mates)
    return Adjacency(mates, forward, int(crowded.sum()))


def _pair_around_edges(
    work: Workpiece,
    members: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    keys: npt.NDArray[np.int64],
    forward: npt.NDArray[np.bool_],
    mates: Ids,
) -> None:
    """Write the partners of `members`, whose edge is given by `groups`, into `mates`."""
    angles = _angles_around_edges(work, members, keys)
    order = np.lexsort([angles, groups])
    left, left_groups = members[order], groups[order]
    for _ in range(PAIRING_ROUNDS):
        # The inside lies between a face that runs backwards and the next that runs forwards: the last of
        # an edge is followed by the first.
        follower = np.arange(1, len(left) + 1)
        ends = np.flatnonzero(np.append(left_groups[1:] != left_groups[:-1], True)) if len(left) else follower
        follower[ends] = np.append(0, ends[:-1] + 1) if len(ends) else follower[ends]
        found = np.flatnonzero(~forward[left] & forward[left[follower]]) if len(left) else follower
        if not len(found):
            return
        one, other = left[found], left[follower[found]]
        mates[one], mates[other] = other, one
        rest = np.ones(len(left), bool)
        rest[found], rest[follower[found]] = False, False
        left, left_groups = left[rest], left_groups[rest]


def _angles_around_edges(
    work: Workpiece, members: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The direction in which each face leaves its edge, as an angle around it seen along low to high."""
    place = np.zeros((work.point_count, 3))
    place[work.points] = work.positions
    low, high = split_key(keys[members], work.point_count)
    axis = place[high] - place[low]
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-300)
    helper = np.eye(3)[np.abs(axis).argmin(axis=1)]
    across = np.cross(axis, helper)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-300)
    third = next_half_edge(next_half_edge(members.astype(np.int32)))
    away = place[work.welded.reshape(-1)[third]] - place[low]
    upwards = np.einsum("ij,ij->i", away, np.cross(axis, across))
    angles: npt.NDArray[np.float64] = np.arctan2(upwards, np.einsum("ij,ij->i", away, across))
    return angles
