"""The one in-memory model that every geometry function takes and returns: parts, each with one material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]

ROUGHNESS = 0.85
"""A matt surface: a photograph already holds the highlights of its own light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texture:
    """An encoded picture (JPEG, PNG or WebP), as glTF's `image/…` names its type."""

    data: bytes
    mime_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a surface is made of, in glTF's metallic-roughness terms; factors are linear.

    The base colour's picture is the mesh's own `texture`. `metallic_roughness` holds roughness in green and
    metallic in blue, `occlusion` is in red, `normal` is in tangent space (+Y up), `emissive` is sRGB.
    """

    name: str = ""
    base_colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    metallic: float = 0.0
    roughness: float = ROUGHNESS
    emissive_colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    metallic_roughness: Texture | None = None
    normal: Texture | None = None
    normal_scale: float = 1.0
    occlusion: Texture | None = None
    occlusion_strength: float = 1.0
    emissive: Texture | None = None
    alpha_mode: Literal["OPAQUE", "MASK", "BLEND"] = "OPAQUE"
    alpha_cutoff: float = 0.5
    double_sided: bool = False
    wrap: Literal["clamp", "repeat", "mirror"] = "clamp"

    @property
    def maps(self) -> tuple[Texture, ...]:
        """The pictures that it has."""
        places = (self.metallic_roughness, self.normal, self.occlusion, self.emissive)
        return tuple(picture for picture in places if picture is not None)


MATT = Material()


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
    material: Material = MATT

    @property
    def has_pictures(self) -> bool:
        """Whether any lies on it; without texture coordinates it is not shown."""
        return self.texture is not None or bool(self.material.maps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """One object: its parts in one coordinate system, at least one, each with a material of its own."""

    parts: tuple[TexturedMesh, ...]

    @property
    def vertex_count(self) -> int:
        """Of all parts."""
        return sum(len(part.vertices) for part in self.parts)

    @property
    def face_count(self) -> int:
        """Of all parts."""
        return sum(len(part.faces) for part in self.parts)

    def surface(self) -> TexturedMesh:
        """The geometry of all parts as one mesh (n,3), (m,3), without colours; not welded."""
        offsets = np.cumsum([0, *(len(part.vertices) for part in self.parts[:-1])])
        return TexturedMesh(
            vertices=np.concatenate([part.vertices for part in self.parts]).astype(np.float32, copy=False),
            faces=np.concatenate(
                [part.faces + offset for part, offset in zip(self.parts, offsets, strict=True)]
            ).astype(np.int32, copy=False),
        )
