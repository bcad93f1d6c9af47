"""Which vertices, edges and faces of a surface meet, by sorting packed keys: linear memory, no loops.

A *point* is all vertices at one position (seams split vertices), a *half edge* h = 3 f + k runs along face
f from its corner k to the next one. Nothing here moves or changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Keys = npt.NDArray[np.int64]

PACKED_ID_BITS = 21
"""Three of them fit into a key of 63 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """labels (n,) int32: each vertex's point, by first appearance; first (count,): one vertex of each."""

    labels: Ids
    first: Ids

    @property
    def count(self) -> int:
        """How many different points there are."""
        return len(self.first)


@dataclass(frozen=True, slots=True, eq=False)
class EdgeUses:
    """Each undirected edge once: `keys` (see `split_key`), how many faces use it, forwards less backwards."""

    keys: Keys
    uses: Keys
    balance: Keys
    point_count: int

    def ends(self, chosen: npt.NDArray[np.bool_]) -> tuple[Ids, Ids]:
        """The two points of each chosen edge, the lower number first."""
        return split_key(self.keys[chosen], self.point_count)


def weld(positions: npt.NDArray[np.float32]) -> Points:
    """Give vertices (n,3) at exactly the same position one number; -0 is 0."""
    return number_rows(np.ascontiguousarray(positions + np.float32(0)).view(np.uint32))


def number_rows(bits: npt.NDArray[np.uint32]) -> Points:
    """Give equal rows (n,k) one number, by first appearance."""
    if not len(bits):
        return Points(np.zeros(0, np.int32), np.zeros(0, np.int32))
    order, starts = _group_by_hash(bits)
    if order is None:
        order = np.lexsort(bits.T)
        sorted_bits = bits[order]
        starts = np.append(True, (sorted_bits[1:] != sorted_bits[:-1]).any(axis=1))
    return _number_groups(order, starts)


def _group_by_hash(bits: npt.NDArray[np.uint32]) -> tuple[Keys | None, npt.NDArray[np.bool_]]:
    """An order in which equal rows are neighbours, and where groups start; no order after a collision."""
    hashes = mix(*bits.T)
    order = np.argsort(hashes)
    sorted_hashes, sorted_bits = hashes[order], bits[order]
    starts = np.append(True, sorted_hashes[1:] != sorted_hashes[:-1])
    differs = (sorted_bits[1:] != sorted_bits[:-1]).any(axis=1)
    collided = bool((differs & ~starts[1:]).any())
    return (None if collided else order), starts


def mix(*columns: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each row: multiplication and shift in turn, as in SplitMix64 (Steele et al. 2014)."""
    state = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        state += column.astype(np.uint64)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(31)
    return state


def _number_groups(order: Keys, starts: npt.NDArray[np.bool_]) -> Points:
    positions = np.flatnonzero(starts)
    earliest = np.minimum.reduceat(order, positions)
    by_appearance = np.argsort(earliest)
    numbers = np.empty(len(positions), np.int32)
    numbers[by_appearance] = np.arange(len(positions), dtype=np.int32)
    labels = np.empty(len(order), np.int32)
    labels[order] = np.repeat(numbers, np.diff(np.append(positions, len(order))))
    return Points(labels, earliest[by_appearance].astype(np.int32))


def half_edge_keys(faces: Ids, point_count: int) -> tuple[Keys, npt.NDArray[np.bool_]]:
    """For each of the 3 m half edges its undirected edge's key, and whether it runs to the higher number."""
    start = faces.reshape(-1).astype(np.int64)
    end = faces[:, [1, 2, 0]].reshape(-1).astype(np.int64)
    return np.minimum(start, end) * point_count + np.maximum(start, end), start < end


def split_key(keys: Keys, point_count: int) -> tuple[Ids, Ids]:
    """The two ends of edges: what `half_edge_keys` packed."""
    low, high = np.divmod(keys, max(point_count, 1))
    return low.astype(np.int32), high.astype(np.int32)


def count_edge_uses(faces: Ids, point_count: int) -> EdgeUses:
    """All edges of faces (m,3), sorted by key."""
    keys, forward = half_edge_keys(faces, point_count)
    packed = keys * 2 + forward
    packed.sort()
    keys = packed >> 1
    if not len(keys):
        return EdgeUses(keys, keys, keys, point_count)
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    uses = np.diff(np.append(starts, len(keys)))
    forwards = np.add.reduceat(packed & 1, starts)
    return EdgeUses(keys[starts], uses, 2 * forwards - uses, point_count)


def connect(count: int, one: Ids, other: Ids) -> tuple[int, Ids]:
    """Connected components of `count` nodes with edges one[i] - other[i]: how many, and each node's label."""
    if not count:
        return 0, np.zeros(0, np.int32)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    found, labels = connected_components(graph, directed=False)
    return int(found), labels.astype(np.int32, copy=False)


def face_keys(faces: Ids, point_count: int) -> npt.NDArray[np.integer]:
    """A key for each face that is the same for all faces of the same three points, however they are wound."""
    ordered = np.sort(faces, axis=1)
    if point_count < 1 << PACKED_ID_BITS:
        wide = ordered.astype(np.int64)
        return (wide[:, 0] << 2 * PACKED_ID_BITS) | (wide[:, 1] << PACKED_ID_BITS) | wide[:, 2]
    return mix(ordered[:, 0], ordered[:, 1], ordered[:, 2])


def find_mates(faces: Ids, point_count: int) -> Ids:
    """For each half edge the other one of its edge (3 m,), itself at a rim; every edge has at most two."""
    keys, _ = half_edge_keys(faces, point_count)
    order = np.argsort(keys)
    paired = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    mates = np.arange(len(keys), dtype=np.int32)
    mates[order[paired]], mates[order[paired + 1]] = order[paired + 1], order[paired]
    return mates


def count_pinched_points(faces: Ids, point_count: int) -> int:
    """Points in which several fans of faces meet that are apart otherwise, as in a bow tie.

    For consistently wound surfaces on which no edge has more than two faces. The faces around a point are
    walked by pointer jumping, in log2(most faces at a point) rounds.
    """
    mates = find_mates(faces, point_count)
    numbers = np.arange(len(mates), dtype=np.int32)
    jump = np.where(mates == numbers, numbers, next_half_edge(mates))
    labels = numbers
    starts = faces.reshape(-1)
    for _ in range(int(np.bincount(starts, minlength=1).max(initial=1)).bit_length()):
        labels = np.minimum(labels, labels[jump])
        jump = jump[jump]
    # In an open fan each corner saw only those after it: the last one speaks for all.
    labels = labels[jump]
    fans = starts[np.flatnonzero(np.bincount(labels, minlength=1))]
    return int((np.bincount(fans, minlength=1) > 1).sum())


def next_half_edge(half_edges: npt.NDArray[np.integer]) -> Ids:
    """The half edge that follows in the same face."""
    return np.where(half_edges % 3 == 2, half_edges - 2, half_edges + 1).astype(np.int32)
