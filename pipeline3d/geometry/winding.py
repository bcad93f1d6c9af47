"""Which way faces look: neighbours alike, solids outwards, hollows within solids left as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.adjacency import find_adjacency
from pipeline3d.geometry.topology import Ids, connect
from pipeline3d.geometry.workpiece import Workpiece, face_normals

SMALL_OPENING = 0.2
"""An open piece is turned only where its opening is at most this share of its area: it has a clear inside."""
MOST_NESTED = 64
"""Shells that are looked at for what lies within them, the largest first."""


def wind_alike(work: Workpiece) -> tuple[Workpiece, int, int]:
    """Turn the smaller part of each piece; also how many faces, and how many pieces have but one side.

    A face is two nodes, as it is and turned; neighbours that agree join like with like, the others crosswise.
    A piece then falls into two halves, one for either winding, or has but one side (Moebius).
    """
    adjacency = find_adjacency(work, pair_crowded=False)
    paired = np.flatnonzero(adjacency.mates > np.arange(len(adjacency.mates)))
    agree = adjacency.agree[paired]
    if agree.all():
        return work, 0, 0
    count = len(work.faces)
    face, neighbour = (paired // 3).astype(np.int32), adjacency.mates[paired] // 3
    other = np.where(agree, neighbour, neighbour + count).astype(np.int32)
    mirrored = np.where(agree, neighbour + count, neighbour).astype(np.int32)
    _, labels = connect(2 * count, np.concatenate([face, face + count]), np.concatenate([other, mirrored]))
    straight, turned = labels[:count], labels[count:]
    one_sided = straight == turned
    piece = np.minimum(straight, turned)
    area = np.linalg.norm(face_normals(work), axis=1)
    length = int(labels.max()) + 1
    in_first = straight == piece
    first = np.bincount(piece[in_first], area[in_first], length)
    second = np.bincount(piece[~in_first], area[~in_first], length)
    chosen = ~one_sided & np.where(first[piece] >= second[piece], ~in_first, in_first)
    return turn(work, chosen), int(chosen.sum()), len(np.unique(piece[one_sided]))


def turn(work: Workpiece, chosen: npt.NDArray[np.bool_]) -> Workpiece:
    """Wind the chosen faces the other way; their vertices' normals follow where they point inwards then.

    A vertex that turned and other faces share keeps its normal.
    """
    if not chosen.any():
        return work
    faces = work.faces.copy()
    faces[chosen] = faces[chosen][:, [0, 2, 1]]
    result = replace(work, faces=faces)
    corners, looks = faces[chosen].reshape(-1), np.repeat(face_normals(result)[chosen], 3, axis=0)
    inwards = np.zeros(len(work.positions))
    np.add.at(inwards, corners, np.einsum("ij,ij->i", looks, work.normals[corners].astype(np.float64)))
    shared = np.zeros(len(work.positions), bool)
    shared[faces[~chosen]] = True
    wrong = (inwards < 0) & ~shared
    return replace(result, normals=np.where(wrong[:, None], -work.normals, work.normals))


def turn_outwards(work: Workpiece) -> tuple[Workpiece, int]:
    """Turn pieces that are inside out; also how many. What lies within a turned shell is turned with it."""
    adjacency = find_adjacency(work)
    count, patch = adjacency.patches()
    if not count:
        return work, 0
    vectors = face_normals(work)
    area = np.bincount(patch, np.linalg.norm(vectors, axis=1), count).astype(np.float64)
    opening = np.linalg.norm([np.bincount(patch, vectors[:, axis], count) for axis in range(3)], axis=0)
    inside_out = (_volumes(work, vectors, adjacency.rims, patch, count) < 0) & (
        opening <= SMALL_OPENING * area
    )
    if not inside_out.any():
        return work, 0
    inner, outer = _nesting(work, patch, area)
    within = np.zeros(count, bool)
    within[inner] = True
    turned = inside_out & ~within
    with_shell = np.zeros(count, bool)
    with_shell[inner[turned[outer]]] = True
    turned |= with_shell
    return turn(work, turned[patch]), int(turned.sum())


def _volumes(
    work: Workpiece,
    vectors: npt.NDArray[np.float64],
    rims: npt.NDArray[np.int64],
    patch: Ids,
    count: int,
) -> npt.NDArray[np.float64]:
    """Of each piece, over the middle of its rims where it has any: as if these were covered."""
    places = work.positions[work.faces.reshape(-1)[rims]].astype(np.float64)
    owners = patch[rims // 3]
    sums = np.stack([np.bincount(owners, places[:, axis], count) for axis in range(3)], axis=1)
    middle = sums / np.maximum(np.bincount(owners, minlength=count), 1)[:, None]
    first = work.positions[work.faces[:, 0]].astype(np.float64) - middle[patch]
    return np.bincount(patch, np.einsum("ij,ij->i", first, vectors), count) / 6


def _nesting(
    work: Workpiece, patch: Ids, area: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of pieces: one that lies within, and one outermost that it lies in."""
    count = len(area)
    order = np.argsort(patch, kind="stable")
    starts = np.append(np.searchsorted(patch[order], np.arange(count)), len(order))
    corners = work.corners[order]
    low = np.minimum.reduceat(corners.min(axis=1), starts[:-1])
    high = np.maximum.reduceat(corners.max(axis=1), starts[:-1])
    inner, outer = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    within = np.zeros(count, bool)
    for shell in np.argsort(-area)[:MOST_NESTED]:
        if within[shell]:
            continue
        near = np.flatnonzero(((low >= low[shell]) & (high <= high[shell])).all(axis=1) & ~within)
        near = near[near != shell][:MOST_NESTED]
        own = corners[starts[shell] : starts[shell + 1]]
        inside = np.array([n for n in near if _encloses(own, corners[starts[n], 0])], np.int64)
        within[inside] = True
        inner.append(inside)
        outer.append(np.full(len(inside), shell, np.int64))
    return np.concatenate(inner), np.concatenate(outer)


def _encloses(triangles: npt.NDArray[np.float64], place: npt.NDArray[np.float64]) -> bool:
    """Whether the winding number of triangles (m,3,3) around a place is not zero (Jacobson et al. 2013)."""
    a, b, c = (triangles - place).transpose(1, 0, 2)
    la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
    above = np.einsum("ij,ij->i", a, np.cross(b, c))
    below = (
        la * lb * lc
        + np.einsum("ij,ij->i", a, b) * lc
        + np.einsum("ij,ij->i", b, c) * la
        + np.einsum("ij,ij->i", c, a) * lb
    )
    return bool(abs(np.arctan2(above, below).sum() / (2 * np.pi)) > 0.5)
