"""The one in-memory model of a mesh that every geometry function takes and returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TexturedMesh:
    """A triangle mesh, Y up, front towards +Z, counter-clockwise faces.

    vertices (n,3) float32 in metres or model units; faces (m,3) int32; normals (n,3) float32, unit;
    uvs (n,2) float32, glTF convention: (0,0) is the upper left corner of the texture;
    colours (n,4) uint8 linear RGBA. `texture` is an encoded picture of `texture_mime_type`.
    """

    vertices: Floats
    faces: Integers
    normals: Floats | None = None
    uvs: Floats | None = None
    texture: bytes | None = None
    texture_mime_type: str = "image/jpeg"
    colours: npt.NDArray[np.uint8] | None = None
