"""Vertex normals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Triangles = npt.NDArray[np.int32]


def vertex_normals(vertices: Floats, faces: Triangles) -> Floats:
    """(n,3) unit normals, each the area-weighted mean of its faces' normals."""
    corners = vertices[faces].astype(np.float64)
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.stack(
        [
            np.bincount(faces.reshape(-1), weights=np.repeat(crosses[:, axis], 3), minlength=len(vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(lengths > 0, sums / np.maximum(lengths, 1e-30), [0.0, 1.0, 0.0]).astype(np.float32)
