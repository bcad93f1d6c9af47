"""The pictures of a part by their place in it, each with what it means, and how they are put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline3d.geometry.mesh import Texture, TexturedMesh
from pipeline3d.geometry.texturing import Role

BASE = "base"
"""The place of the base colour's picture, which is the mesh's own; the others are those of the material."""
ROLES: dict[str, Role] = {
    "metallic_roughness": "data",
    "occlusion": "data",
    "normal": "normal",
    "emissive": "colour",
}


def pictures_of(part: TexturedMesh) -> dict[str, tuple[Texture, Role]]:
    """The pictures that the part has; one that packs occlusion as well is there twice."""
    found: dict[str, tuple[Texture, Role]] = {}
    if part.texture is not None:
        found[BASE] = Texture(data=part.texture, mime_type=part.texture_mime_type), "colour"
    for place, role in ROLES.items():
        texture = getattr(part.material, place)
        if texture is not None:
            found[place] = texture, role
    return found


def with_pictures(part: TexturedMesh, pictures: Mapping[str, Texture]) -> TexturedMesh:
    """The part with other pictures in these places; what is in the other places stays."""
    maps: dict[str, Any] = {place: picture for place, picture in pictures.items() if place != BASE}
    changed = replace(part, material=replace(part.material, **maps))
    if BASE not in pictures:
        return changed
    base = pictures[BASE]
    return replace(changed, texture=base.data, texture_mime_type=base.mime_type)
