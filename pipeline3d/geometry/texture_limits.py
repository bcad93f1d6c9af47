"""Textures scaled down to a longest side, each by the rules of what it holds."""

from __future__ import annotations

from pipeline3d.geometry.mesh import Model, Texture, TexturedMesh
from pipeline3d.geometry.part_pictures import pictures_of, with_pictures
from pipeline3d.geometry.picture_headers import read_picture_header
from pipeline3d.geometry.texturing import Role, read_pixels, shrink, write_pixels


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
        found = pictures_of(part)
        return with_pictures(part, {place: limited(*picture) for place, picture in found.items()})

    return Model(parts=tuple(limit_part(part) for part in model.parts))
