"""Faces that should not be there: without place, without area, twice, or adrift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.adjacency import find_adjacency
from pipeline3d.geometry.topology import connect, face_keys, next_half_edge
from pipeline3d.geometry.workpiece import Workpiece, face_normals, welded_again

FURTHEST = 1e9
"""Coordinates beyond it are taken for broken: no unit makes a thing of that size."""
RIM_GAP = 2e-6
"""Of the diagonal: rims this near each other belong together; rounding to 6 digits leaves 1e-6. What
`separating` pulls apart has to stay further away than the widest gap that is joined, 2 sqrt(3) times this."""
FLOATER_AREA, FLOATER_SIZE, FLOATERS_AREA = 5e-4, 0.02, 0.01
"""A piece adrift has at most these shares of area and diagonal; all of them together the last of the area."""


def drop_broken_coordinates(work: Workpiece) -> tuple[Workpiece, int]:
    """Without faces that use a coordinate that is no number or absurdly far away."""
    sound: npt.NDArray[np.bool_] = np.all(np.abs(work.positions) <= FURTHEST, axis=1)
    if sound.all():
        return work, 0
    kept = sound[work.faces].all(axis=1)
    positions = np.where(sound[:, None], work.positions, np.float32(0))
    return welded_again(replace(work, positions=positions, faces=work.faces[kept])), int((~kept).sum())


def drop_collapsed(work: Workpiece) -> tuple[Workpiece, int]:
    """Without faces two of whose corners are at one place."""
    a, b, c = work.welded.T
    kept = (a != b) & (b != c) & (c != a)
    return (work, 0) if kept.all() else (replace(work, faces=work.faces[kept]), int((~kept).sum()))


def join_near_rims(work: Workpiece) -> tuple[Workpiece, int]:
    """Rim points less than a rounding error apart become one place.

    Points in one cell of any of eight grids, each shifted by half a cell, are joined: whatever is nearer
    than half a cell shares one of them, and the cost is linear however crowded the points are.
    """
    rims = find_adjacency(work, pair_crowded=False).rims
    at_rim = np.unique(work.welded.reshape(-1)[np.append(rims, next_half_edge(rims))])
    if not len(at_rim):
        return work, 0
    place = np.zeros((work.point_count, 3), np.float32)
    place[work.points] = work.positions
    scaled = place[at_rim].astype(np.float64)
    scaled = (scaled - scaled.min(axis=0)) / (2 * RIM_GAP * max(work.diagonal, 1e-30))
    one, other = [], []
    for shift in np.ndindex(2, 2, 2):
        cells = np.floor(scaled + np.array(shift) / 2).astype(np.int64)
        keys = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
        order = np.argsort(keys, kind="stable")
        same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        one.append(order[same])
        other.append(order[same + 1])
    pairs = np.concatenate(one).astype(np.int32), np.concatenate(other).astype(np.int32)
    if not len(pairs[0]):
        return work, 0
    _, labels = connect(len(at_rim), *pairs)
    # The first of each group, in the order of the points, gives its place to the others.
    _, first = np.unique(labels, return_index=True)
    place[at_rim] = place[at_rim[first[labels]]]
    joined = welded_again(replace(work, positions=place[work.points]))
    return joined, len(at_rim) - len(first)


def drop_duplicates(work: Workpiece) -> tuple[Workpiece, int]:
    """One face for each three points, the one that runs with its neighbours.

    A sheet that is drawn from both sides throughout is left: there is no telling which side is meant.
    """
    welded = work.welded
    keys = face_keys(welded, work.point_count)
    upwards = _runs_upwards(welded)
    order = np.lexsort([upwards, keys])
    same = keys[order[1:]] == keys[order[:-1]]
    if not same.any():
        return work, 0
    copies = order[1:][same & (upwards[order[1:]] == upwards[order[:-1]])]
    kept = np.ones(len(keys), bool)
    kept[copies] = False
    order = order[kept[order]]
    twins = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    one, other = order[twins], order[twins + 1]
    while len(one):
        fit = _edges_met(work, kept, np.concatenate([one, other]))
        fit_one, fit_other = fit[: len(one)], fit[len(one) :]
        told = fit_one != fit_other
        kept[np.where(fit_one < fit_other, one, other)[told]] = False
        one, other = one[~told], other[~told]
        if not told.any():
            break
    return replace(work, faces=work.faces[kept]), int((~kept).sum())


def _runs_upwards(welded: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which of the two windings of its three points each face has."""
    a, b, c = welded.T
    upwards: npt.NDArray[np.bool_] = (a < b).astype(np.int8) + (b < c) + (c < a) == 2
    return upwards


def _edges_met(
    work: Workpiece, kept: npt.NDArray[np.bool_], chosen: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """How many half edges of each chosen face run against one of the kept faces that are not chosen."""
    start, end = work.welded.astype(np.int64), work.welded[:, [1, 2, 0]].astype(np.int64)
    others = kept.copy()
    others[chosen] = False
    present = (start[others] * work.point_count + end[others]).reshape(-1)
    met: npt.NDArray[np.bool_] = np.isin(end[chosen] * work.point_count + start[chosen], present)
    fit: npt.NDArray[np.int64] = met.sum(axis=1, dtype=np.int64)
    return fit


def drop_floaters(work: Workpiece) -> tuple[Workpiece, int, str | None]:
    """Without tiny pieces beside the body; also how many, and why they stay where there are too many."""
    count, patch = find_adjacency(work).patches()
    if count < 2:
        return work, 0, None
    area = np.bincount(patch, np.linalg.norm(face_normals(work), axis=1), count)
    order = np.argsort(patch, kind="stable")
    starts = np.searchsorted(patch[order], np.arange(count))
    corners = work.corners[order]
    size = np.linalg.norm(
        np.maximum.reduceat(corners.max(axis=1), starts) - np.minimum.reduceat(corners.min(axis=1), starts),
        axis=1,
    )
    adrift = (area <= FLOATER_AREA * area.sum()) & (size <= FLOATER_SIZE * work.diagonal)
    adrift[area.argmax()] = False
    if not adrift.any():
        return work, 0, None
    if area[adrift].sum() > FLOATERS_AREA * area.sum():
        share = area[adrift].sum() / area.sum()
        return work, 0, f"{int(adrift.sum())} tiny pieces make up {share:.0%} of the surface, so they stay"
    return replace(work, faces=work.faces[~adrift[patch]]), int(adrift.sum()), None
