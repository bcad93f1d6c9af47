"""A model of a file that says neither its unit nor which axis points up, as models are here: metres, Y up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.pose import UNITS_PER_METRE, Z_UP, Unit, UpAxis


def as_metres_y_up(model: Model, *, unit: Unit, up_axis: UpAxis) -> Model:
    """The model counted in metres and turned so that Y points up; it stays where it is otherwise."""
    if unit == "m" and up_axis == "y":
        return model
    turn = Z_UP.T if up_axis == "z" else np.eye(3)
    scale = 1.0 / UNITS_PER_METRE[unit]

    def brought(part: TexturedMesh) -> TexturedMesh:
        vertices = (part.vertices.astype(np.float64) * scale) @ turn.T
        normals = None if part.normals is None else (part.normals @ turn.T).astype(np.float32)
        return replace(part, vertices=vertices.astype(np.float32), normals=normals)

    return Model(parts=tuple(brought(part) for part in model.parts))
