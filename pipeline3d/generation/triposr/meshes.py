"""The meshes that come out of a scene, as plain arrays: the libraries do not know each other's types."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]
Triangles = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExtractedMesh:
    """A surface with colours at its vertices: Y up, photographed side towards +Z, in the box of the scene.

    vertices (n,3) float32 within +- the scene's radius; faces (m,3) int32, counter-clockwise seen from
    outside; normals (n,3) float32, unit; colours (n,4) uint8 linear RGBA. `evaluations` is how often the
    density was asked for, `lattice` how many samples a dense evaluation would have taken.
    """

    vertices: Points
    faces: Triangles
    normals: Points
    colours: npt.NDArray[np.uint8]
    resolution: int
    evaluations: int
    lattice: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BakedMesh:
    """A smaller surface with a texture, posed as `ExtractedMesh` is.

    uvs (n,2) float32 with the origin in the upper left corner; vertices along the seams are doubled.
    """

    vertices: Points
    faces: Triangles
    normals: Points
    uvs: Points
    texture: bytes
    texture_mime_type: str
    texture_side: int


def turn_upright(points: npt.NDArray[np.floating]) -> Points:
    """(n,3) from the model's axes (z up, camera on +x) to Y up with the photographed side towards +Z.

    A cyclic swap, so that faces keep the way they are turned.
    """
    return np.ascontiguousarray(points[:, [1, 2, 0]], np.float32)


def turn_back(points: npt.NDArray[np.floating]) -> Points:
    """The inverse of `turn_upright`."""
    return np.ascontiguousarray(points[:, [2, 0, 1]], np.float32)


def vertex_normals(vertices: Points, faces: Triangles) -> Points:
    """(n,3) unit normals, each the area-weighted mean of its faces' normals; +Y where there is no area."""
    corners = vertices[faces]
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = faces.reshape(-1)
    sums = np.stack(
        [
            np.bincount(flat, weights=np.repeat(crosses[:, axis], 3), minlength=len(vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    unit = np.where(lengths > 0, sums / np.maximum(lengths, 1e-30), [0.0, 1.0, 0.0])
    return np.asarray(unit, np.float32)


def linear_from_srgb(srgb: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Linear light from sRGB, both 0 to 1 (IEC 61966-2-1)."""
    value = np.clip(srgb, 0.0, 1.0).astype(np.float32)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear, np.float32)
