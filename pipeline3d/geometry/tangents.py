"""Tangents as viewers derive them for glTF where a file has none, so that a normal map means the same to all.

Angle-weighted sums of the faces' tangents at each vertex, without the part along the normal, normalised;
the bitangent is w * cross(normal, tangent) (Mikkelsen 2008, MikkTSpace; glTF 2.0, 3.7.2.1). MikkTSpace also
splits a vertex where mirrored faces meet: atlases made here split such vertices anyway.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Points = npt.NDArray[np.float64]


def vertex_tangents(
    vertices: Floats, faces: npt.NDArray[np.integer], normals: Floats, uvs: Floats
) -> npt.NDArray[np.float64]:
    """(n,4): unit tangent towards growing u, and w, 1 or -1; v grows downwards, up is where it falls."""
    corners, places = vertices.astype(np.float64)[faces], uvs.astype(np.float64)[faces]
    edge_b, edge_c = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    uv_b, uv_c = places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]
    turn = np.sign(uv_b[:, 0] * uv_c[:, 1] - uv_b[:, 1] * uv_c[:, 0])
    along_u = (edge_b * uv_c[:, 1:] - edge_c * uv_b[:, 1:]) * turn[:, None]
    along_u = _unit(along_u)
    count = len(vertices)
    unit_normals = normals.astype(np.float64)
    sums, signs = np.zeros((count, 3)), np.zeros(count)
    for corner in range(3):
        vertex = faces[:, corner]
        angle = _angle(
            corners[:, (corner + 1) % 3] - corners[:, corner],
            corners[:, (corner + 2) % 3] - corners[:, corner],
        )
        flat = _unit(_reject(along_u, unit_normals[vertex])) * angle[:, None]
        for axis in range(3):
            sums[:, axis] += np.bincount(vertex, weights=flat[:, axis], minlength=count)
        signs += np.bincount(vertex, weights=-turn * angle, minlength=count)  # v grows downwards
    tangents = _unit(_reject(sums, unit_normals))
    lost = ~(np.abs(tangents).sum(axis=1) > 0)
    tangents[lost] = _any_perpendicular(unit_normals[lost])
    return np.concatenate([tangents, np.where(signs < 0, -1.0, 1.0)[:, None]], axis=1)


def to_tangent_space(directions: Points, normals: Points, tangents: Points) -> Points:
    """Unit directions (k,3) as (right, up, out) of the texture; normals (k,3), tangents (k,4), interpolated.

    The exact inverse of what a viewer does with a normal map: x tangent + y bitangent + z normal, unit.
    """
    along = tangents[:, :3]
    up = np.cross(normals, along) * tangents[:, 3:]
    # rows of the inverse of [along up normals], up to a positive factor
    volume = np.einsum("ij,ij->i", along, np.cross(up, normals))
    sign = np.where(volume < 0, -1.0, 1.0)[:, None]
    rows = (np.cross(up, normals), np.cross(normals, along), np.cross(along, up))
    parts = [np.einsum("ij,ij->i", sign * row, directions) for row in rows]
    return _unit(np.stack(parts, axis=1))


def from_tangent_space(mapped: Points, normals: Points, tangents: Points) -> Points:
    """What a viewer makes of a normal map's vectors (k,3): unit directions (k,3)."""
    along = tangents[:, :3]
    up = np.cross(normals, along) * tangents[:, 3:]
    return _unit(mapped[:, :1] * along + mapped[:, 1:2] * up + mapped[:, 2:] * normals)


def _unit(vectors: Points) -> Points:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.asarray(found, np.float64)


def _reject(vectors: Points, normals: Points) -> Points:
    """The part of the vectors that is perpendicular to unit normals."""
    along = np.einsum("ij,ij->i", vectors, normals)[:, None]
    return np.asarray(vectors - along * normals, np.float64)


def _angle(one: Points, other: Points) -> Points:
    return np.asarray(np.arccos(np.clip(np.einsum("ij,ij->i", _unit(one), _unit(other)), -1, 1)), np.float64)


def _any_perpendicular(normals: Points) -> Points:
    axes = np.eye(3)[np.abs(normals).argmin(axis=1)] if len(normals) else np.zeros((0, 3))
    return _unit(_reject(axes, normals))
