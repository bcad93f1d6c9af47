"""Colours of vertices and detail of a fine surface, painted into textures of a coarse one.

The coarse surface is simplified before it is unwrapped, as unwrapping costs more than linear time. What a
texel shows is asked of the fine surface, at the closest place that faces the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry.colour_space import to_srgb
from pipeline3d.geometry.joining import require_valid, take_vertices
from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.simplifying import simplify
from pipeline3d.geometry.surface_sampling import Sampler, Shown, blend, normals_of
from pipeline3d.geometry.tangents import to_tangent_space, vertex_tangents
from pipeline3d.geometry.texels import find_nearest, find_texels
from pipeline3d.geometry.unwrapping import MOST_FACES, Method, unwrap

Pixels = npt.NDArray[np.uint8]

LEAST_SIDE, MOST_SIDE = 64, 4096
FACES_TO_UNWRAP = 20_000
"""About 2 s of unwrapping."""
MOST_OVERLAP = 0.01
"""Share of texels that several faces may claim before texture coordinates are made anew."""
UV_SLACK = 1e-4
"""Beyond 0 to 1, from rounding."""
JPEG_QUALITY = 92
ALPHA = 4
"""Channels of a picture with alpha."""


def bake_colours(
    model: Model, *, size_px: int, max_faces: int = FACES_TO_UNWRAP, method: Method = "xatlas"
) -> Model:
    """Parts with colours at their vertices get one texture together instead; others stay as they are.

    Those parts have at most about `max_faces` faces afterwards, colours come from all vertices that were
    there. Raises `InvalidParameters`, and `UnusableInput` for broken arrays or too many faces to unwrap.
    """
    require_side(size_px)
    for number, part in enumerate(model.parts):
        require_valid(part, number)
    painted = [part for part in model.parts if _is_painted(part)]
    if not painted:
        return model
    low = simplify(Model(parts=tuple(painted)), target_faces=min(max_faces, MOST_FACES)).model
    charted = _unwrap(low, size_px, method)
    bare = Model(parts=tuple(replace(part, material=Material()) for part in painted))  # factors stay factors
    atlas = _ask(Sampler(model=bare), charted, size_px, with_normals=False)
    transparent = any(part.material.alpha_mode != "OPAQUE" for part in painted)
    texture = atlas.base_colour(with_alpha=transparent)
    baked = [
        replace(part, colours=None, texture=texture.data, texture_mime_type=texture.mime_type)
        for part in charted
    ]
    return Model(parts=(*(part for part in model.parts if not _is_painted(part)), *baked))


def bake_detail(high: Model, low: Model, *, size_px: int, method: Method = "xatlas") -> Model:
    """`low` with what `high` shows: a normal map, base colour, and further maps where `high` needs them.

    Texture coordinates of `low` are kept where each part has ones that lie within 0 to 1 and do not overlap;
    else one atlas for all parts is made. `low`'s materials become `high`'s, with factors painted in.
    Raises `InvalidParameters`, and `UnusableInput` for broken arrays or too many faces to unwrap.
    """
    require_side(size_px)
    for model in (high, low):
        for number, part in enumerate(model.parts):
            require_valid(part, number)
    if not high.face_count or not low.face_count:
        raise InvalidParameters("both models need faces")
    low = Model(parts=tuple(part for part in low.parts if len(part.faces)))
    shared = not all(_has_own_atlas(part, size_px) for part in low.parts)
    parts = _unwrap(low, size_px, method) if shared else list(low.parts)
    parts = [replace(part, normals=normals_of(part), colours=None) for part in parts]
    sampler = Sampler(model=high)
    if shared:
        return Model(parts=tuple(_dress(parts, _ask(sampler, parts, size_px), high)))
    return Model(parts=tuple(_dress([part], _ask(sampler, [part], size_px), high)[0] for part in parts))


def require_side(size_px: int) -> None:
    """Raises `InvalidParameters` for a side that is not 64 to 4096."""
    if not LEAST_SIDE <= size_px <= MOST_SIDE:
        raise InvalidParameters(f"size_px is {size_px}; {LEAST_SIDE} to {MOST_SIDE} are allowed")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Atlas:
    """What the covered texels show; `nearest` (side * side) is the row of each texel of the picture."""

    side: int
    nearest: npt.NDArray[np.int64]
    shown: Shown
    mapped_normals: npt.NDArray[np.float32]

    def picture(self, values: npt.NDArray[np.floating]) -> Pixels:
        """Values (k,c) 0 to 1 as pixels (side, side, c), gutters filled."""
        rows = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        return np.asarray(rows[self.nearest].reshape(self.side, self.side, -1), np.uint8)

    def base_colour(self, *, with_alpha: bool) -> Texture:
        """sRGB; JPEG, or PNG where alpha counts."""
        colour = to_srgb(np.clip(self.shown.base[:, :3], 0, 1))
        if with_alpha:
            return _encode(
                self.picture(np.concatenate([colour, self.shown.base[:, 3:]], axis=1)), "image/png"
            )
        return _encode(self.picture(colour), "image/jpeg")

    def normal(self) -> Texture:
        """Tangent space, +Y up; PNG, as JPEG's blocks would shine."""
        return _encode(self.picture((self.mapped_normals + 1) / 2), "image/png")

    def roughness_and_metal(self) -> Texture:
        """Roughness in green, metallic in blue."""
        full = np.ones_like(self.shown.roughness)
        stacked = np.stack([full, self.shown.roughness, self.shown.metallic], axis=1)
        return _encode(self.picture(stacked), "image/jpeg")

    def occlusion(self) -> Texture:
        """In red."""
        return _encode(self.picture(np.repeat(self.shown.occlusion[:, None], 3, axis=1)), "image/jpeg")

    def emissive(self) -> Texture:
        """sRGB."""
        return _encode(self.picture(to_srgb(np.clip(self.shown.emitted, 0, 1))), "image/jpeg")


def _ask(sampler: Sampler, parts: Sequence[TexturedMesh], side: int, *, with_normals: bool = True) -> _Atlas:
    """What the sampler shows at the texels of all parts, which share one atlas."""
    found = []
    for part in parts:
        texels = find_texels(_uvs_of(part), part.faces, side)
        corners = part.faces[texels.face]
        weights = texels.weights
        normals = _unit(blend(normals_of(part), corners, weights))
        places = np.einsum("kc,kcd->kd", weights, part.vertices.astype(np.float64)[corners])
        shown = sampler.at(places, normals.astype(np.float64))
        mapped = np.zeros_like(normals)
        if with_normals:
            mapped = _map_normals(part, corners, weights, normals, shown)
        found.append((texels.index, shown, mapped))
    index = np.concatenate([texel for texel, _, _ in found])
    if not len(index):
        raise UnusableInput(
            "no texel is covered by the surface",
            code="no_texels",
            hint="Use a larger texture, or a model with an area.",
        )
    shown = Shown(
        **{
            name: np.concatenate([getattr(one, name) for _, one, _ in found])
            for name in Shown.__dataclass_fields__
        }
    )
    return _Atlas(
        side=side,
        nearest=find_nearest(index, side),
        shown=shown,
        mapped_normals=np.concatenate([mapped for _, _, mapped in found]),
    )


def _map_normals(
    part: TexturedMesh,
    corners: npt.NDArray[np.signedinteger],
    weights: npt.NDArray[np.float64],
    normals: npt.NDArray[np.float32],
    shown: Shown,
) -> npt.NDArray[np.float32]:
    """What the fine surface's normals are in the tangent space of the coarse one (k,3)."""
    tangents = vertex_tangents(part.vertices, part.faces, normals_of(part), _uvs_of(part))
    along = blend(tangents, corners, weights).astype(np.float64)
    along[:, 3] = np.where(along[:, 3] < 0, -1, 1)
    mapped = to_tangent_space(shown.normals.astype(np.float64), normals.astype(np.float64), along)
    return mapped.astype(np.float32)


def _dress(parts: Sequence[TexturedMesh], atlas: _Atlas, high: Model) -> list[TexturedMesh]:
    """The parts with the atlas's pictures, and maps for what differs over the fine surface."""
    materials = [part.material for part in high.parts if len(part.faces)]
    first = materials[0]
    modes = {material.alpha_mode for material in materials}
    alpha_mode: Literal["OPAQUE", "MASK", "BLEND"] = (
        "BLEND" if "BLEND" in modes else "MASK" if "MASK" in modes else "OPAQUE"
    )
    base = atlas.base_colour(with_alpha=alpha_mode != "OPAQUE")
    material = replace(
        first,
        base_colour=(1.0, 1.0, 1.0, 1.0),
        alpha_mode=alpha_mode,
        double_sided=any(one.double_sided for one in materials),
        normal=atlas.normal(),
        normal_scale=1.0,
        metallic_roughness=None,
        occlusion=None,
        occlusion_strength=1.0,
        emissive=None,
        wrap="clamp",
    )
    if len({(one.roughness, one.metallic, one.metallic_roughness) for one in materials}) > 1 or (
        first.metallic_roughness is not None
    ):
        material = replace(
            material, roughness=1.0, metallic=1.0, metallic_roughness=atlas.roughness_and_metal()
        )
    if any(one.occlusion is not None for one in materials):
        material = replace(material, occlusion=atlas.occlusion())
    if len({(one.emissive_colour, one.emissive) for one in materials}) > 1 or first.emissive is not None:
        material = replace(material, emissive_colour=(1.0, 1.0, 1.0), emissive=atlas.emissive())
    return [
        replace(part, texture=base.data, texture_mime_type=base.mime_type, material=material)
        for part in parts
    ]


def _unwrap(model: Model, side: int, method: Method) -> list[TexturedMesh]:
    """Its parts with normals and with texture coordinates in one atlas; as boxes if xatlas would refuse."""
    parts = [replace(part, normals=normals_of(part)) for part in model.parts]
    if model.face_count > MOST_FACES:
        method = "box"
    return [
        replace(take_vertices(part, found.source, found.faces), uvs=found.uvs)
        for part, found in zip(parts, unwrap(parts, size_px=side, method=method), strict=True)
    ]


def _is_painted(part: TexturedMesh) -> bool:
    return part.colours is not None and part.texture is None and len(part.faces) > 0


def _has_own_atlas(part: TexturedMesh, side: int) -> bool:
    """Whether its texture coordinates give each place a texel of its own."""
    if part.uvs is None or part.uvs.min() < -UV_SLACK or part.uvs.max() > 1 + UV_SLACK:
        return False
    texels = find_texels(np.clip(part.uvs, 0, 1), part.faces, side)
    return len(texels.index) > 0 and texels.overlap <= MOST_OVERLAP


def _uvs_of(part: TexturedMesh) -> npt.NDArray[np.float32]:
    if part.uvs is None:
        raise ValueError("the part has no texture coordinates")
    return np.clip(part.uvs, 0, 1).astype(np.float32)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), np.float32)


def _encode(pixels: Pixels, mime_type: str) -> Texture:
    """Pixels (h,w,3) or (h,w,4) as JPEG or PNG."""
    import cv2

    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == ALPHA else cv2.COLOR_RGB2BGR)
    extension, options = (
        (".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]) if mime_type == "image/jpeg" else (".png", [])
    )
    done, content = cv2.imencode(extension, ordered, options)
    if not done:
        raise ValueError(f"an array of shape {pixels.shape} cannot be written as {mime_type}")
    return Texture(data=bytes(content), mime_type=mime_type)
