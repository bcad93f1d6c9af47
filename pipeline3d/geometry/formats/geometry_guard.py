"""What every writer demands of a model before it writes a byte: faces, finite numbers, existing vertices."""

from __future__ import annotations

import numpy as np

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.mesh import Model, TexturedMesh


def drawable_parts(model: Model) -> tuple[TexturedMesh, ...]:
    """The parts that have faces. Raises BrokenModelOutput `empty_mesh`, `nan_mesh` or `broken_mesh`."""
    parts = tuple(part for part in model.parts if len(part.faces))
    if not parts:
        raise BrokenModelOutput("The model has no faces, so there is nothing to write.", code="empty_mesh")
    for part in parts:
        _check_arrays(part)
    return parts


def _check_arrays(part: TexturedMesh) -> None:
    count = len(part.vertices)
    if part.vertices.shape != (count, 3) or part.faces.shape != (len(part.faces), 3):
        raise _broken(f"vertices are {part.vertices.shape}, faces {part.faces.shape}")
    if int(part.faces.min()) < 0 or int(part.faces.max()) >= count:
        raise _broken(f"a face names a vertex beyond the {count} that exist")
    for name, array, width in (
        ("normals", part.normals, 3),
        ("uvs", part.uvs, 2),
        ("colours", part.colours, 4),
    ):
        if array is not None and array.shape != (count, width):
            raise _broken(f"there are {count} vertices and the {name} are {array.shape}")
    for name, array in (("coordinates", part.vertices), ("normals", part.normals), ("uvs", part.uvs)):
        if array is not None and not np.isfinite(array).all():
            raise BrokenModelOutput(f"Some {name} of the model are no finite numbers.", code="nan_mesh")


def _broken(reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"The model's arrays do not fit together: {reason}.", code="broken_mesh")
