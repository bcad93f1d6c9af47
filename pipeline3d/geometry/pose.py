"""Where a mesh stands and how large it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.mesh import TexturedMesh


def fit_to_size(mesh: TexturedMesh, *, size_m: float = 1.0) -> TexturedMesh:
    """Scale evenly until the longest side of the bounding box is `size_m` metres.

    It then stands on the ground plane y = 0, centred over the origin in x and z. Raises
    BrokenModelOutput where the mesh has no extent.
    """
    vertices = mesh.vertices.astype(np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    longest = float((high - low).max())
    if not np.isfinite(longest) or longest <= 0:
        raise BrokenModelOutput("The mesh has no extent, so it cannot be given a size.", code="empty_mesh")
    foot = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    placed = ((vertices - foot) * (size_m / longest)).astype(np.float32)
    return replace(mesh, vertices=placed)
