"""One primitive of a glTF document as arrays: triangles whatever their mode, colours as bytes.

Arrays may be read-only and shared between primitives; who keeps them copies them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.gltf_accessors import Accessors
from pipeline3d.geometry.gltf_container import TRIANGLE_FAN, TRIANGLE_STRIP, TRIANGLES
from pipeline3d.geometry.gltf_materials import Materials, Surface
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.refusals import broken

Entry = dict[str, Any]
SURFACES = (TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN)


def makes_faces(primitive: Entry) -> bool:
    """Whether it is triangles; points and lines are not."""
    return primitive.get("mode", TRIANGLES) in SURFACES


def count_faces(document: Entry, primitive: Entry) -> int:
    """How many triangles it says it has, before any is read."""
    named = primitive.get("indices", primitive["attributes"].get("POSITION"))
    accessors = document.get("accessors", [])
    if not isinstance(named, int) or not 0 <= named < len(accessors):
        raise broken(f"there is no accessor {named!r}")
    count = int(accessors[named]["count"])
    return count // 3 if primitive.get("mode", TRIANGLES) == TRIANGLES else max(0, count - 2)


def read_primitive(accessors: Accessors, materials: Materials, primitive: Entry) -> TexturedMesh:
    """Its arrays, its material and its texture. Raises UnusableInput."""
    attributes = primitive["attributes"]
    if "POSITION" not in attributes:
        raise broken("a mesh has no positions")
    vertices = accessors.read_floats(attributes["POSITION"], ("VEC3",), any_integers=True)
    if not len(vertices):
        raise broken("a mesh has no vertices")
    surface = materials.read(primitive.get("material"))
    mesh = TexturedMesh(
        vertices=vertices,
        faces=_read_faces(accessors, primitive, len(vertices)),
        normals=_read_optional(accessors, attributes, "NORMAL", ("VEC3",)),
        uvs=_read_uvs(accessors, attributes, surface),
        colours=_read_colours(accessors, attributes),
        material=surface.material,
    )
    for name in ("normals", "uvs", "colours"):
        array = getattr(mesh, name)
        if array is not None and len(array) != len(vertices):
            raise broken(f"a mesh has {len(vertices)} vertices and {len(array)} {name}")
    if surface.base is None:
        return mesh
    return replace(mesh, texture=surface.base.data, texture_mime_type=surface.base.mime_type)


def _read_faces(accessors: Accessors, primitive: Entry, vertex_count: int) -> npt.NDArray[np.int32]:
    if "indices" in primitive:
        stored = accessors.read(primitive["indices"], ("SCALAR",))[:, 0]
        if stored.dtype.kind != "u":
            raise broken("the indices of a mesh are no counting numbers")
    else:
        stored = np.arange(vertex_count, dtype=np.uint32)
    if not stored.size:
        raise broken("a mesh has no faces")
    if int(stored.max()) >= vertex_count:
        raise broken("a face names a vertex that does not exist")
    indices = stored.astype(np.int32)
    mode = primitive.get("mode", TRIANGLES)
    if mode == TRIANGLES:
        if indices.size % 3:
            raise broken(f"{indices.size} indices are no triangles")
        return indices.reshape(-1, 3)
    if indices.size < 3:
        raise broken(f"{indices.size} indices are no triangles")
    if mode == TRIANGLE_FAN:
        return np.column_stack([np.full(indices.size - 2, indices[0]), indices[1:-1], indices[2:]])
    faces = np.column_stack([indices[:-2], indices[1:-1], indices[2:]])
    faces[1::2, :2] = faces[1::2, 1::-1]  # every other triangle of a strip turns the other way
    return faces


def _read_optional(
    accessors: Accessors, attributes: Entry, name: str, kinds: tuple[str, ...]
) -> npt.NDArray[np.float32] | None:
    if name not in attributes:
        return None
    return accessors.read_floats(attributes[name], kinds, any_integers=name.startswith("TEXCOORD"))


def _read_uvs(accessors: Accessors, attributes: Entry, surface: Surface) -> npt.NDArray[np.float32] | None:
    uvs = _read_optional(accessors, attributes, f"TEXCOORD_{surface.mapping.uv_set}", ("VEC2",))
    return None if uvs is None else surface.mapping.apply(uvs)


def _read_colours(accessors: Accessors, attributes: Entry) -> npt.NDArray[np.uint8] | None:
    if "COLOR_0" not in attributes:
        return None
    stored = accessors.read(attributes["COLOR_0"], ("VEC3", "VEC4"))
    if stored.dtype != np.uint8:
        shares = accessors.read_floats(attributes["COLOR_0"], ("VEC3", "VEC4"))
        shares = np.nan_to_num(shares, nan=1.0, posinf=1.0, neginf=0.0)
        stored = np.round(np.clip(shares, 0.0, 1.0) * 255.0).astype(np.uint8)
    if stored.shape[1] == 3:
        stored = np.column_stack([stored, np.full(len(stored), 255, np.uint8)])
    return stored
