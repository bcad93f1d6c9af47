"""Whether a surface bounds a solid, by manifold3d's own rules: the gate before printing."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.topology import weld


def is_solid(model: Model) -> bool:
    """Whether manifold3d accepts the welded surface as a manifold that encloses something."""
    manifold3d: Any = importlib.import_module("manifold3d")  # its types are not found

    solid = as_manifold(model)
    return bool(solid.status() == manifold3d.Error.NoError and not solid.is_empty() and solid.volume() > 0)


def as_manifold(model: Model) -> Any:
    """The welded surface as manifold3d.Manifold; its status says whether it is one."""
    manifold3d: Any = importlib.import_module("manifold3d")  # its types are not found

    surface = model.surface()
    points = weld(surface.vertices)
    return manifold3d.Manifold(
        manifold3d.Mesh(
            np.ascontiguousarray(surface.vertices[points.first]),
            np.ascontiguousarray(points.labels[surface.faces], dtype=np.uint32),
        )
    )
