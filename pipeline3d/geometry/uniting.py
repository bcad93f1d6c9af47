"""Bodies that run through each other become one, by manifold3d's boolean union.

Normals, texture places and colours go through the union as vertex properties, which manifold3d interpolates
where faces are cut, so that nothing has to be painted anew.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.adjacency import find_adjacency
from pipeline3d.geometry.cleaning import drop_collapsed
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.separating import pull_apart
from pipeline3d.geometry.topology import Ids
from pipeline3d.geometry.workpiece import Workpiece, close, face_normals, lay_open, welded_again

MOST_BODIES = 200
"""More are no parts of one object that should be one solid, and would take long."""
NORMALS, UVS, COLOURS, PART = slice(3, 6), slice(6, 8), slice(8, 12), 12


def unite_bodies(model: Model) -> tuple[Model, int] | None:
    """The closed bodies of a model as one solid, and how many they were.

    None where there is one body only, where one is a hollow (looks inwards), or where manifold3d takes one
    of them for no solid.
    """
    manifold3d: Any = importlib.import_module("manifold3d")  # its types are not found

    work = lay_open(model)
    count, patch = find_adjacency(work).patches()
    volumes = np.bincount(
        patch, np.einsum("ij,ij->i", work.corners[:, 0], face_normals(work)), minlength=count
    )
    if not 1 < count <= MOST_BODIES or (volumes <= 0).any():
        return None
    properties = np.column_stack(
        [work.positions, work.normals, work.uvs, work.colours.astype(np.float32), work.part_of]
    ).astype(np.float32)
    bodies = [_as_manifold(work, properties, work.faces[patch == number]) for number in range(count)]
    if any(body.status() != manifold3d.Error.NoError or body.is_empty() for body in bodies):
        return None
    united = manifold3d.Manifold.batch_boolean(bodies, manifold3d.OpType.Add)
    if united.status() != manifold3d.Error.NoError or united.is_empty():
        return None
    mesh = united.to_mesh()
    joined = _as_workpiece(np.array(mesh.vert_properties), np.array(mesh.tri_verts))
    # Rounded to 32 bits, points of the cut may fall together.
    joined, _ = drop_collapsed(joined)
    joined, _ = pull_apart(joined)
    return close(joined, model), count


def _as_manifold(work: Workpiece, properties: npt.NDArray[np.float32], faces: Ids) -> Any:
    """One body with all its vertices' properties; those at one place are merged for its topology."""
    manifold3d: Any = importlib.import_module("manifold3d")  # its types are not found

    used, numbers = np.unique(faces, return_inverse=True)
    _, first, groups = np.unique(work.points[used], return_index=True, return_inverse=True)
    merged = first[groups.reshape(-1)]
    copies = np.flatnonzero(merged != np.arange(len(used)))
    return manifold3d.Manifold(
        manifold3d.Mesh(
            np.ascontiguousarray(properties[used]),
            np.ascontiguousarray(numbers.reshape(-1, 3), dtype=np.uint32),
            merge_from_vert=copies.astype(np.uint32),
            merge_to_vert=merged[copies].astype(np.uint32),
        )
    )


def _as_workpiece(properties: npt.NDArray[np.float32], faces: npt.NDArray[np.integer]) -> Workpiece:
    normals = properties[:, NORMALS]
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    work = Workpiece(
        positions=np.ascontiguousarray(properties[:, :3]),
        normals=np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0),
        uvs=np.ascontiguousarray(properties[:, UVS]),
        colours=np.clip(np.round(properties[:, COLOURS]), 0, 255).astype(np.uint8),
        part_of=np.round(properties[:, PART]).astype(np.int32),
        points=np.zeros(0, np.int32),
        point_count=0,
        faces=faces.astype(np.int32),
    )
    return welded_again(work)
