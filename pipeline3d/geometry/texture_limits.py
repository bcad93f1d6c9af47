"""Textures scaled down to a longest side, each by the rules of what it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline3d.geometry.mesh import Model, Texture, TexturedMesh
from pipeline3d.geometry.picture_headers import read_picture_header
from pipeline3d.geometry.texturing import Role, read_pixels, shrink, write_pixels

MAPS: dict[str, Role] = {
    "metallic_roughness": "data",
    "normal": "normal",
    "occlusion": "data",
    "emissive": "colour",
}


def limit_textures(model: Model, longest_px: int) -> Model:
    """The model with no picture longer than that; raises UnusableInput `broken_texture`."""
    known: dict[tuple[bytes, Role], Texture] = {}

    def limited(texture: Texture, role: Role) -> Texture:
        header = read_picture_header(texture.data)
        if max(header.width, header.height) <= longest_px:
            return texture
        found = known.get((texture.data, role))
        if found is None:
            pixels = shrink(read_pixels(texture), longest_px, role)
            found = known[texture.data, role] = write_pixels(pixels, texture.mime_type)
        return found

    def limit_part(part: TexturedMesh) -> TexturedMesh:
        pictures: dict[str, Texture | None] = {name: getattr(part.material, name) for name in MAPS}
        smaller: dict[str, Any] = {
            name: limited(found, MAPS[name]) for name, found in pictures.items() if found is not None
        }
        material = replace(part.material, **smaller)
        if part.texture is None:
            return replace(part, material=material)
        base = limited(Texture(data=part.texture, mime_type=part.texture_mime_type), "colour")
        return replace(part, material=material, texture=base.data, texture_mime_type=base.mime_type)

    return Model(parts=tuple(limit_part(part) for part in model.parts))
