"""Normals that are smooth over gentle edges and break at sharp ones, for surfaces that come without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.face_directions import face_directions
from pipeline3d.geometry.joining import take_vertices
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.topology import number_rows, weld

Integers = npt.NDArray[np.signedinteger]

CREASE_DEG = 40.0
"""Faces that meet at more stay apart in shading; modelling programs start from 30 to 60."""
MOST_AROUND = 512
"""Faces at a place that are compared with each other; more, as at the tip of a cone, are one smooth fan."""
PAIRS_AT_ONCE = 2_000_000
"""Of corners and faces around them: bounds the memory."""


def add_normals(model: Model) -> Model:
    """The model with normals on the parts that have none; their vertices are split at creases."""
    parts = []
    for part in model.parts:
        if part.normals is None and len(part.faces):
            source, faces, normals = split_at_creases(part.vertices, part.faces.astype(np.int64))
            part = replace(take_vertices(part, source, faces), normals=normals)
        parts.append(part)
    return Model(parts=tuple(parts))


def split_at_creases(
    points: npt.NDArray[np.floating], faces: Integers, *, crease_deg: float = CREASE_DEG
) -> tuple[Integers, Integers, npt.NDArray[np.float32]]:
    """Point of each new vertex (n), faces over the new ones (m,3), their unit normals (n,3).

    At each corner the directions of the faces around its place are summed that differ from the corner's own
    face by less than the crease; corners of a point with the same sum share a vertex.
    """
    corners = faces.reshape(-1)
    places = weld(points.astype(np.float32)).labels[corners]
    sums = _sum_alike(face_directions(points, faces), places, np.cos(np.radians(crease_deg)))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    normals = np.divide(sums, lengths, out=np.tile([0.0, 1.0, 0.0], (len(sums), 1)), where=lengths > 0)
    rows = np.concatenate([corners[:, None], np.round(normals * 1e4)], axis=1).astype(np.int32)
    alike = number_rows(rows.view(np.uint32))
    source, numbers = corners[alike.first], alike.labels.reshape(-1, 3)
    return source.astype(np.int64), numbers.astype(np.int64), normals[alike.first].astype(np.float32)


def _sum_alike(
    directions: npt.NDArray[np.float64], places: npt.NDArray[np.int32], least_cosine: float
) -> npt.NDArray[np.float64]:
    """For each corner (3 m,3) the sum of the directions (m,3) at its place that are like its own face's."""
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    units = np.divide(directions, lengths, out=np.zeros_like(directions), where=lengths > 0)
    order = np.argsort(places, kind="stable")
    counts = np.bincount(places)
    begins = np.cumsum(counts) - counts
    around = counts[places]
    sums = np.empty((len(places), 3))
    crowded = around > MOST_AROUND
    if crowded.any():
        sums[crowded] = _sums(places, np.repeat(directions, 3, axis=0), len(counts))[places[crowded]]
    usual = np.flatnonzero(~crowded)
    for own in np.split(usual, np.flatnonzero(np.diff(np.cumsum(around[usual]) // PAIRS_AT_ONCE)) + 1):
        asking = np.repeat(np.arange(len(own)), around[own])
        before = np.cumsum(around[own]) - around[own]
        asked = order[begins[places[own[asking]]] + np.arange(len(asking)) - before[asking]]
        alike = np.einsum("ij,ij->i", units[own[asking] // 3], units[asked // 3]) > least_cosine
        sums[own] = _sums(asking[alike], directions[asked[alike] // 3], len(own))
    return sums


def _sums(
    owners: npt.NDArray[np.integer], rows: npt.NDArray[np.float64], count: int
) -> npt.NDArray[np.float64]:
    return np.stack([np.bincount(owners, rows[:, axis], count) for axis in range(3)], axis=1)
