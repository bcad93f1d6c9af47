"""Solids that touch at an edge or a point only are pulled a hair apart: no file format keeps them so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline3d.geometry.adjacency import find_adjacency
from pipeline3d.geometry.workpiece import Workpiece, welded_again, with_copies

HAIR = 1e-5
"""Of the diagonal: 10 micrometres in a metre, and a hundred steps of a 32-bit float."""


ROUNDS = 4
"""What was pulled apart may still touch elsewhere, seen only then."""


def pull_apart(work: Workpiece) -> tuple[Workpiece, int]:
    """Every fan of faces gets a place of its own; also how many places there are more.

    The largest fan of a point stays; each other moves by a hair towards the middle of its faces.
    """
    separated = 0
    for _ in range(ROUNDS):
        work, count = _pull_once(work)
        separated += count
        if not count:
            break
    return work, separated


def _pull_once(work: Workpiece) -> tuple[Workpiece, int]:
    count, fans = find_adjacency(work).fans()
    if not count:
        return work, 0
    corners = work.welded.reshape(-1)
    size = np.bincount(fans, minlength=count)
    point_of = np.empty(count, np.int32)
    point_of[fans] = corners
    order = np.lexsort((-size, point_of))
    moved = np.zeros(count, bool)
    moved[order[1:]] = point_of[order[1:]] == point_of[order[:-1]]
    if not moved.any():
        return work, 0
    corner = np.flatnonzero(moved[fans])
    pairs, inverse = np.unique(
        work.faces.reshape(-1)[corner].astype(np.int64) * count + fans[corner], return_inverse=True
    )
    source, fan = (pairs // count).astype(np.int32), pairs % count
    longer, fresh = with_copies(work, source)
    faces = work.faces.reshape(-1).copy()
    faces[corner] = fresh[inverse.reshape(-1)]
    middles = np.repeat(work.corners.mean(axis=1), 3, axis=0)[corner]
    towards = np.stack([np.bincount(fans[corner], middles[:, axis], count) for axis in range(3)], axis=1)
    towards = towards[fan] / size[fan][:, None] - work.positions[source]
    length = np.linalg.norm(towards, axis=1, keepdims=True)
    step = np.minimum(HAIR * work.diagonal, length / 10)
    positions = longer.positions.copy()
    positions[fresh] = work.positions[source] + towards / np.maximum(length, 1e-30) * step
    return welded_again(replace(longer, faces=faces.reshape(-1, 3), positions=positions)), int(moved.sum())
