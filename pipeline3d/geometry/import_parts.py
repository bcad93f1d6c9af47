"""What every reader of strangers' files shares: parts moved to their place, joined, and checked.

The result is a `Model` that the rest of the room can rely on: finite coordinates of a usable size, faces
that name vertices, unit normals or none, arrays of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.gltf_writing import unit_normals
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.refusals import broken, refused

FARTHEST = 1e9
"""Units from the origin; the square of an area still fits a float32."""

FEW = 8
"""A part that names less than this share of the vertices is numbered by sorting its own."""
OPTIONAL = ("normals", "uvs", "colours")


def keep_used_vertices(part: TexturedMesh) -> TexturedMesh:
    """The part without vertices that no face names, with arrays of its own."""
    if part.faces.size * FEW < len(part.vertices):  # one of many parts that share their vertices
        kept: Any
        kept, numbers = np.unique(part.faces, return_inverse=True)
        faces = numbers.reshape(-1, 3).astype(np.int32)
    else:
        used = np.zeros(len(part.vertices), np.bool_)
        used[part.faces] = True
        kept = np.flatnonzero(used)
        places = np.cumsum(used, dtype=np.int32) - np.int32(1)
        faces = places[part.faces]
    chosen = {name: array[kept].copy() for name in OPTIONAL if (array := getattr(part, name)) is not None}
    return replace(part, vertices=np.array(part.vertices[kept], np.float32), faces=faces, **chosen)


def place(part: TexturedMesh, matrix: npt.NDArray[np.float64]) -> TexturedMesh:
    """The part moved by a matrix (4,4); a mirroring one turns its faces, so that outside stays outside."""
    if np.array_equal(matrix, np.eye(4)):
        return part
    linear = matrix[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused afterwards
        vertices = (part.vertices.astype(np.float64) @ linear.T + matrix[:3, 3]).astype(np.float32)
        determinant = float(np.linalg.det(linear))
    faces = part.faces[:, ::-1] if determinant < 0 else part.faces
    normals = part.normals
    if normals is not None:
        # Cofactors are the inverse transpose times the determinant, and exist where the inverse does not.
        with np.errstate(over="ignore", invalid="ignore"):
            cofactors = np.cross(linear[:, [1, 2, 0]].T, linear[:, [2, 0, 1]].T).T
            normals = (normals @ cofactors.T * np.sign(determinant or 1.0)).astype(np.float32)
    return replace(part, vertices=vertices, faces=np.ascontiguousarray(faces), normals=normals)


def join_by_material(parts: Iterable[TexturedMesh]) -> list[TexturedMesh]:
    """One part for each material, texture and set of attributes, in the order in which they first come."""
    groups: dict[Any, list[TexturedMesh]] = {}
    for part in parts:
        has = tuple(getattr(part, name) is not None for name in OPTIONAL)
        groups.setdefault((part.material, part.texture, has), []).append(part)
    return [_join(group) for group in groups.values()]


def _join(parts: list[TexturedMesh]) -> TexturedMesh:
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    faces = [part.faces + np.int32(offset) for part, offset in zip(parts, offsets, strict=True)]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("vertices", *OPTIONAL)
        if getattr(parts[0], name) is not None
    }
    return replace(parts[0], faces=np.concatenate(faces), **joined)


def check_model(parts: Iterable[TexturedMesh], limits: ImportLimits) -> Model:
    """The parts as a model. Raises UnusableInput `empty_mesh`, `nan_mesh`, `model_too_large`, ..."""
    checked = tuple(_check_part(part) for part in parts if len(part.faces) and len(part.vertices))
    if not checked:
        raise refused("empty_mesh", "it has no faces")
    if len(checked) > limits.primitives:
        raise refused(
            "model_too_large",
            f"it has {len(checked):,} materials; at most {limits.primitives:,} are taken",
        )
    model = Model(parts=checked)
    if model.face_count > limits.faces:
        raise refused(
            "model_too_large", f"it has {model.face_count:,} faces; at most {limits.faces:,} are taken"
        )
    if model.vertex_count > limits.vertices:
        raise refused(
            "model_too_large",
            f"it has {model.vertex_count:,} vertices; at most {limits.vertices:,} are taken",
        )
    low = np.min([part.vertices.min(axis=0) for part in checked], axis=0)
    high = np.max([part.vertices.max(axis=0) for part in checked], axis=0)
    if not (high > low).any():
        raise refused("empty_mesh", "all its points are at one place")
    return model


def _check_part(part: TexturedMesh) -> TexturedMesh:
    if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
        raise broken("a face names a vertex that does not exist")
    if not np.isfinite(part.vertices).all():
        raise refused("nan_mesh", "some of its coordinates are no numbers")
    farthest = float(np.abs(part.vertices).max())
    if farthest > FARTHEST:
        raise refused(
            "coordinates_out_of_range",
            f"a vertex is {farthest:.3g} from the origin; at most {FARTHEST:.0e} is taken",
        )
    normals, uvs = part.normals, part.uvs
    if normals is not None:
        normals = unit_normals(normals) if np.isfinite(normals).all() else None
    if uvs is not None and not np.isfinite(uvs).all():
        uvs = np.nan_to_num(uvs, nan=0.0, posinf=1.0, neginf=0.0).astype(np.float32)
    return replace(part, normals=normals, uvs=uvs)
