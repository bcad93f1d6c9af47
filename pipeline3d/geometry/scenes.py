"""A model made ready for pictures: moved into the unit sphere, its pictures decoded, its parts in one list.

Made once and looked at from anywhere: a turntable's frames share it. Frozen, so threads may share it too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.mesh import ROUGHNESS, Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.picture_maps import Kind, PictureMap, read_picture_map

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]

TEXTURE_PX = 2048
"""Larger sides of pictures are made smaller: pictures of models have 512 to 1024 pixels."""
NEUTRAL = (0.6, 0.6, 0.6, 1.0)
"""A part without picture, colours and base colour, as in STL files; linear."""
MOST_UV = 1e4
FEW_PARTS = np.iinfo(np.int16).max
LEAST_RADIUS = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """The material of one part with its pictures decoded, and the frames (m,2,3) that its normal map is in.

    `tangents` are the directions in which u grows and v shrinks, unit, one pair for each of its faces, of
    which the first is the scene's `first_face`.
    """

    material: Material
    base_colour: tuple[float, float, float, float]
    first_face: int
    base: PictureMap | None = None
    metallic_roughness: PictureMap | None = None
    normal: PictureMap | None = None
    occlusion: PictureMap | None = None
    emissive: PictureMap | None = None
    tangents: Floats | None = None

    @property
    def layered(self) -> bool:
        """Whether something behind it can be seen through it."""
        return self.material.alpha_mode != "OPAQUE"

    @property
    def matt(self) -> bool:
        """Nothing is mirrored: most generated models, and much less work."""
        return (
            self.metallic_roughness is None
            and self.material.metallic <= 0
            and self.material.roughness >= ROUGHNESS
        )

    @property
    def pictures(self) -> tuple[PictureMap | None, ...]:
        """All of them."""
        return self.base, self.metallic_roughness, self.normal, self.occlusion, self.emissive


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """vertices (n,3) within the unit sphere around 0; faces (m,3); normals (n,3); uvs (n,2) or None;
    colours (n,4) linear 0 to 1, or None; `surface_of` (m,) is the number of each face's surface;
    `uv_area` (m,) the doubled share of the picture that each face shows; `two_sided` (m,)."""

    vertices: Floats
    faces: Integers
    normals: Floats
    uvs: Floats | None
    colours: Floats | None
    surface_of: npt.NDArray[np.signedinteger]
    uv_area: Floats | None
    two_sided: npt.NDArray[np.bool_] | None
    surfaces: tuple[Surface, ...]

    @property
    def layered_faces(self) -> npt.NDArray[np.bool_] | None:
        """(m,) faces of surfaces that can be seen through; None where there are none."""
        layered = np.array([surface.layered for surface in self.surfaces])
        return layered[self.surface_of] if layered.any() else None


def prepare_scene(model: Model | TexturedMesh, *, texture_px: int = TEXTURE_PX) -> Scene:
    """Everything that does not depend on the camera.

    Raises `BrokenModelOutput`: `unrenderable_mesh` without faces or with numbers that are none,
    `broken_texture` for a picture that is none.
    """
    parts = model.parts if isinstance(model, Model) else (model,)
    parts = tuple(part for part in parts if len(part.faces))
    if not parts:
        raise _unrenderable("has no faces")
    for part in parts:
        check_numbers(part)
    counts = [len(part.vertices) for part in parts]
    offsets = np.cumsum([0, *counts[:-1]])
    faces = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)])
    faces = faces.astype(np.int32, copy=False)
    vertices = into_unit_sphere(np.concatenate([part.vertices for part in parts]))
    normals = np.concatenate(
        [
            smooth_normals(vertices[start : start + count], part.faces)
            if part.normals is None
            else np.nan_to_num(np.asarray(part.normals, np.float32))
            for part, start, count in zip(parts, offsets, counts, strict=True)
        ]
    )
    uvs = _gather_uvs(parts)
    first_faces = np.cumsum([0, *(len(part.faces) for part in parts[:-1])])
    decoded: dict[tuple[bytes, str, str], PictureMap] = {}
    surfaces = tuple(
        describe_surface(part, int(first), vertices, uvs, faces, texture_px, decoded)
        for part, first in zip(parts, first_faces, strict=True)
    )
    # 16 bits are sorted five times faster, which is done for each picture.
    kind = np.int16 if len(parts) <= FEW_PARTS else np.int32
    numbers: npt.NDArray[np.signedinteger] = np.arange(len(parts)).astype(kind)
    surface_of = np.repeat(numbers, [len(part.faces) for part in parts])
    two_sided = np.array([part.material.double_sided for part in parts])
    return Scene(
        vertices=vertices,
        faces=faces,
        normals=normals.astype(np.float32, copy=False),
        uvs=uvs,
        colours=_gather_colours(parts),
        surface_of=surface_of,
        uv_area=None if uvs is None else doubled_uv_area(uvs, faces),
        two_sided=two_sided[surface_of] if two_sided.any() else None,
        surfaces=surfaces,
    )


def describe_surface(
    part: TexturedMesh,
    first_face: int,
    vertices: Floats,
    uvs: Floats | None,
    faces: Integers,
    texture_px: int,
    decoded: dict[tuple[bytes, str, str], PictureMap],
) -> Surface:
    """The material of a part; pictures that parts share are decoded once."""
    material = part.material

    def read(data: bytes, kind: Kind) -> PictureMap:
        key = (data, kind, material.wrap)
        if key not in decoded:
            decoded[key] = read_picture_map(data, kind, material.wrap, most_side=texture_px)
        return decoded[key]

    def read_map(texture: Texture | None, kind: Kind) -> PictureMap | None:
        return None if texture is None or part.uvs is None else read(texture.data, kind)

    bare = part.texture is None and part.colours is None and material.base_colour == (1.0, 1.0, 1.0, 1.0)
    textured = part.texture is not None and part.uvs is not None
    normal = read_map(material.normal, "data")
    own = faces[first_face : first_face + len(part.faces)]
    return Surface(
        material=material,
        base_colour=NEUTRAL if bare and material.metallic <= 0 else material.base_colour,
        first_face=first_face,
        base=read(part.texture, "colour" if material.alpha_mode == "OPAQUE" else "colour_alpha")
        if textured and part.texture is not None
        else None,
        metallic_roughness=read_map(material.metallic_roughness, "data"),
        normal=normal,
        occlusion=read_map(material.occlusion, "data"),
        emissive=read_map(material.emissive, "colour") if any(material.emissive_colour) else None,
        tangents=None if normal is None or uvs is None else face_tangents(vertices, uvs, own),
    )


def check_numbers(part: TexturedMesh) -> None:
    """Refuse what would crash or draw nonsense."""
    if not np.isfinite(part.vertices).all():
        raise _unrenderable("has coordinates that are no numbers")
    if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
        raise _unrenderable("has faces with vertices that do not exist")
    for name in ("normals", "uvs", "colours"):
        values = getattr(part, name)
        if values is not None and len(values) != len(part.vertices):
            raise _unrenderable(f"has {len(values)} {name} for {len(part.vertices)} vertices")


def into_unit_sphere(vertices: Floats) -> Floats:
    """Around 0, with the farthest vertex at 1; worked out in doubles, as coordinates may be huge."""
    points = vertices.astype(np.float64)
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.sqrt((points**2).sum(axis=1).max()))
    if radius < LEAST_RADIUS:
        raise _unrenderable("has no size")
    return (points / radius).astype(np.float32)


def smooth_normals(vertices: Floats, faces: Integers) -> Floats:
    """(n,3) area-weighted vertex normals, for meshes that come without."""
    corners = vertices[faces]
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.stack(
        [
            np.bincount(faces.ravel(), np.repeat(crosses[:, axis], 3), minlength=len(vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    return sums.astype(vertices.dtype)


def doubled_uv_area(uvs: Floats, faces: Integers) -> Floats:
    """(m,) shares of the unit square."""
    a, b, c = (uvs[faces[:, i]] for i in range(3))
    first, second = b - a, c - a
    return np.asarray(np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]), np.float32)


def face_tangents(vertices: Floats, uvs: Floats, faces: Integers) -> Floats:
    """(m,2,3) unit directions in which u grows and in which v shrinks (up in the picture), for each face.

    A normal map is in this frame together with the smooth normal; where the picture has no area, both are 0.
    """
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    ua, ub, uc = (uvs[faces[:, i]] for i in range(3))
    first, second = b - a, c - a
    du1, dv1 = (ub - ua).T[..., None]
    du2, dv2 = (uc - ua).T[..., None]
    sign = np.sign(du1 * dv2 - du2 * dv1)
    along_u = (first * dv2 - second * dv1) * sign
    against_v = (first * du2 - second * du1) * sign
    frames = np.stack([along_u, against_v], axis=1)
    lengths = np.linalg.norm(frames, axis=2, keepdims=True)
    return np.asarray(frames / np.maximum(lengths, 1e-20), np.float32)


def _gather_uvs(parts: tuple[TexturedMesh, ...]) -> Floats | None:
    if all(part.uvs is None for part in parts):
        return None
    all_uvs = [
        np.zeros((len(part.vertices), 2), np.float32) if part.uvs is None else part.uvs for part in parts
    ]
    joined = np.concatenate(all_uvs).astype(np.float32, copy=False)
    return np.clip(np.nan_to_num(joined, posinf=0, neginf=0), -MOST_UV, MOST_UV)


def _gather_colours(parts: tuple[TexturedMesh, ...]) -> Floats | None:
    if all(part.colours is None for part in parts):
        return None
    white = np.full((1, 4), 255, np.uint8)
    joined = np.concatenate(
        [np.repeat(white, len(part.vertices), 0) if part.colours is None else part.colours for part in parts]
    )
    return np.asarray(joined.astype(np.float32) / 255, np.float32)


def _unrenderable(reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"The mesh {reason}: there is nothing to show.", code="unrenderable_mesh")
