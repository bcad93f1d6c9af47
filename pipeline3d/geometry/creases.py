"""Normals that are smooth over gentle edges and break at sharp ones, for surfaces that come without."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.collapse_checks import face_directions

Integers = npt.NDArray[np.signedinteger]

CREASE_DEG = 40.0
"""Faces that meet at more stay apart in shading; modelling programs start from 30 to 60."""


def split_at_creases(
    points: npt.NDArray[np.floating], faces: Integers, *, crease_deg: float = CREASE_DEG
) -> tuple[Integers, Integers, npt.NDArray[np.float32]]:
    """Point of each new vertex (n), faces over the new ones (m,3), their unit normals (n,3).

    At each corner the directions of the faces around its point are summed that differ from the corner's own
    face by less than the crease; corners of a point with the same sum share a vertex.
    """
    directions = face_directions(points, faces)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    units = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    corners = faces.reshape(-1)
    order = np.argsort(corners, kind="stable")
    counts = np.bincount(corners, minlength=len(points))
    begins = np.cumsum(counts) - counts
    around = counts[corners]
    asking = np.repeat(np.arange(len(corners)), around)
    step = np.arange(len(asking)) - np.repeat(np.cumsum(around) - around, around)
    asked = order[begins[corners[asking]] + step]
    near = np.einsum("ij,ij->i", units[asking // 3], units[asked // 3]) > np.cos(np.radians(crease_deg))
    sums = np.stack(
        [
            np.bincount(asking[near], weights=directions[asked[near] // 3, axis], minlength=len(corners))
            for axis in range(3)
        ],
        axis=1,
    )
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    normals = np.divide(sums, lengths, out=np.tile([0.0, 1.0, 0.0], (len(sums), 1)), where=lengths > 0)
    rows = np.concatenate([corners[:, None], np.round(normals * 1e4)], axis=1).astype(np.int64)
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return corners[first], number.reshape(-1, 3), normals[first].astype(np.float32)
