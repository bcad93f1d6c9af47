"""Binary STL: triangles and nothing else; no colours, no unit (slicers take millimetres)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline3d.geometry.face_directions import cross
from pipeline3d.geometry.formats.geometry_guard import drawable_parts
from pipeline3d.geometry.formats.whole_files import write_whole
from pipeline3d.geometry.mesh import Model

HEADER = b"Binary STL by Pipeline3D".ljust(80)
"""Must not begin with "solid": readers would take the file for text."""
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(model: Model, path: Path) -> None:
    """All parts as one list of triangles, in the model's own unit and axes."""
    corners = np.concatenate([part.vertices[part.faces] for part in drawable_parts(model)]).astype(np.float64)
    crosses = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(crosses, axis=1, keepdims=True)
    triangles = np.zeros(len(corners), TRIANGLE)
    # a triangle without an area has the normal 0, which readers take for "not given"
    triangles["normal"] = np.divide(crosses, lengths, out=np.zeros_like(crosses), where=lengths > 0)
    triangles["corners"] = corners
    write_whole(path, HEADER, len(triangles).to_bytes(4, "little"), triangles.tobytes())
