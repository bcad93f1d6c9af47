"""A model laid open for repair: all parts as one surface, whose steps add, drop and turn faces.

Attributes stay with their vertices. `points` says which vertices are at one place (seams split them), so a
step sees the surface through `welded` and works on vertices through `faces`. Values: a step makes a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.face_directions import face_directions
from pipeline3d.geometry.mesh import Floats, Model, TexturedMesh
from pipeline3d.geometry.topology import Ids, weld

ATTRIBUTES = ("normals", "uvs", "colours")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workpiece:
    """positions, normals (n,3), uvs (n,2), colours (n,4), part_of and points (n,), faces (m,3)."""

    positions: Floats
    normals: Floats
    uvs: Floats
    colours: npt.NDArray[np.uint8]
    part_of: Ids
    points: Ids
    point_count: int
    faces: Ids

    @property
    def welded(self) -> Ids:
        """The faces by their points (m,3)."""
        return self.points[self.faces]

    @property
    def corners(self) -> npt.NDArray[np.float64]:
        """The coordinates of each face's corners (m,3,3)."""
        return self.positions[self.faces].astype(np.float64)

    @property
    def bounds(self) -> npt.NDArray[np.float64]:
        """The lowest and the highest coordinates (2,3) that faces use; there is at least one."""
        used = np.zeros(len(self.positions), bool)
        used[self.faces] = True
        places = self.positions[used]
        return np.stack([places.min(axis=0), places.max(axis=0)]).astype(np.float64)

    @property
    def diagonal(self) -> float:
        """Of the bounds; 0 without faces."""
        return float(np.linalg.norm(np.diff(self.bounds, axis=0))) if len(self.faces) else 0.0


def lay_open(model: Model) -> Workpiece:
    """All parts in a row; an attribute that a part lacks is zero here and lacking again in the end."""
    surface = model.surface()
    count = len(surface.vertices)
    work = Workpiece(
        positions=surface.vertices,
        normals=np.zeros((count, 3), np.float32),
        uvs=np.zeros((count, 2), np.float32),
        colours=np.zeros((count, 4), np.uint8),
        part_of=np.repeat(
            np.arange(len(model.parts), dtype=np.int32), [len(part.vertices) for part in model.parts]
        ),
        points=np.zeros(0, np.int32),
        point_count=0,
        faces=surface.faces,
    )
    start = 0
    for part in model.parts:
        end = start + len(part.vertices)
        for name in ATTRIBUTES:
            values = getattr(part, name)
            if values is not None:
                getattr(work, name)[start:end] = values
        start = end
    return welded_again(work)


def welded_again(work: Workpiece) -> Workpiece:
    """With points as the positions now say."""
    points = weld(work.positions)
    return replace(work, points=points.labels, point_count=points.count)


def with_copies(work: Workpiece, sources: Ids) -> tuple[Workpiece, Ids]:
    """Each of the vertices `sources` once more, at the end; also the numbers of the copies."""
    fresh = np.arange(len(work.positions), len(work.positions) + len(sources), dtype=np.int32)
    longer: dict[str, Any] = {
        field.name: np.concatenate([getattr(work, field.name), getattr(work, field.name)[sources]])
        for field in fields(work)
        if field.name not in ("faces", "point_count")
    }
    return replace(work, **longer), fresh


def close(work: Workpiece, model: Model) -> Model:
    """The model again, without vertices that no face uses; parts without faces are left out."""
    used = np.zeros(len(work.positions), bool)
    used[work.faces] = True
    face_parts = work.part_of[work.faces[:, 0]]
    parts = []
    for number, part in enumerate(model.parts):
        own = np.flatnonzero(used & (work.part_of == number))
        faces = work.faces[face_parts == number]
        if not len(faces):
            continue
        numbers = np.full(len(work.positions), -1, np.int32)
        numbers[own] = np.arange(len(own), dtype=np.int32)
        parts.append(_rebuilt(work, part, own, numbers[faces]))
    return Model(parts=tuple(parts))


def _rebuilt(work: Workpiece, part: TexturedMesh, own: npt.NDArray[np.int64], faces: Ids) -> TexturedMesh:
    kept: dict[str, Any] = {
        name: None if getattr(part, name) is None else np.ascontiguousarray(getattr(work, name)[own])
        for name in ATTRIBUTES
    }
    return replace(
        part,
        vertices=np.ascontiguousarray(work.positions[own]),
        faces=faces,
        **kept,
    )


def face_normals(work: Workpiece) -> npt.NDArray[np.float64]:
    """Each face's normal times twice its area (m,3)."""
    return face_directions(work.positions, work.faces)
