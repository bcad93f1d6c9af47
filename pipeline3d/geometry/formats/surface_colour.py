"""The colour of a part's surface: base colour, texture and vertex colours multiplied, as glTF says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.colour_space import to_srgb
from pipeline3d.geometry.formats.pictures import Pixels, decode, sample
from pipeline3d.geometry.mesh import Floats, TexturedMesh


class DecodedPictures:
    """Pictures by their bytes, so that one that several parts or models share is decoded once."""

    def __init__(self) -> None:
        self._decoded: dict[bytes, Pixels] = {}

    def get(self, data: bytes) -> Pixels:
        """The pixels. Raises BrokenModelOutput `broken_texture`."""
        if data not in self._decoded:
            self._decoded[data] = decode(data)
        return self._decoded[data]


def colour_at(
    part: TexturedMesh, uvs: Floats | None, colours: Floats | None, pictures: DecodedPictures
) -> Floats:
    """Linear RGBA (n,4), or (1,4) for a part of one colour.

    `uvs` (n,2) and `colours` (n,4), 0 to 1 and linear, are the part's own ones at the places in question.
    """
    found = np.asarray(part.material.base_colour, np.float32)[None]
    if part.texture is not None and uvs is not None:
        found = found * sample(pictures.get(part.texture), uvs, part.material.wrap)
    if colours is not None:
        found = found * colours
    return np.asarray(found, np.float32)


def has_colours(part: TexturedMesh) -> bool:
    """Whether the colour differs over the surface."""
    return part.colours is not None or (part.texture is not None and part.uvs is not None)


def vertex_colours(part: TexturedMesh, pictures: DecodedPictures) -> npt.NDArray[np.uint8]:
    """sRGB bytes with linear alpha (n,4) for each vertex: a texture as it is at the vertices."""
    colours = None if part.colours is None else part.colours.astype(np.float32) / np.float32(255)
    linear = np.clip(colour_at(part, part.uvs, colours, pictures), 0, 1)
    if part.material.alpha_mode == "OPAQUE":
        linear = np.concatenate([linear[:, :3], np.ones_like(linear[:, :1])], axis=1)
    encoded = np.concatenate([to_srgb(linear[:, :3]), linear[:, 3:]], axis=1)
    found = (encoded * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(found, (len(part.vertices), 4)))
