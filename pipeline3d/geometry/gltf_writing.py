"""A model as glTF 2.0: its JSON, its binary content and its pictures.

The JSON is explicit where the format's default would change the look (metallic is 1 when it is not said)
and silent elsewhere; equal pictures, samplers, textures and materials are written once; equal models give
equal bytes. What would make a file invalid is put right (lengths of normals, factors beyond their range)
or left out (texture coordinates that no map uses, maps without coordinates); a mesh that is no mesh is
`BrokenModelOutput`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.gltf_container import (
    ARRAY_BUFFER,
    ELEMENT_ARRAY_BUFFER,
    EMISSIVE_STRENGTH,
    FLOAT,
    LINEAR,
    LINEAR_MIPMAP_LINEAR,
    TRIANGLES,
    UNSIGNED_BYTE,
    UNSIGNED_INT,
    UNSIGNED_SHORT,
    WEBP,
    WRAPS,
    Bytes,
)
from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh

GENERATOR = "Pipeline3D"
UNIT_TOLERANCE = 2e-4
"""Normals whose length is further from 1 are normalised; the Khronos validator takes 5e-4."""
MOST_SHORT_VERTICES = 65_535
"""Index 65535 of 16 bits restarts a primitive, so that many vertices have indices of two bytes."""

Entry = dict[str, Any]


@dataclass
class GltfBuilder:
    """A glTF document as it grows.

    `embed` puts pictures into the binary content, else they are files; `keep_uvs` writes texture coordinates
    that no map uses, which a published file has no use for.
    """

    embed: bool = True
    keep_uvs: bool = False
    chunks: list[Bytes] = field(default_factory=list)
    length: int = 0
    pictures: list[Texture] = field(default_factory=list)
    views: list[Entry] = field(default_factory=list)
    accessors: list[Entry] = field(default_factory=list)
    images: list[Entry] = field(default_factory=list)
    samplers: list[Entry] = field(default_factory=list)
    textures: list[Entry] = field(default_factory=list)
    materials: list[Entry] = field(default_factory=list)
    extensions: set[str] = field(default_factory=set)
    _image_of: dict[tuple[str, bytes], int] = field(default_factory=dict)
    _number_of: dict[tuple[str, str], int] = field(default_factory=dict)

    def add_view(self, data: Bytes, target: int | None = None) -> int:
        """Append bytes at a multiple of four."""
        if padding := -self.length % 4:
            self.chunks.append(b"\0" * padding)
            self.length += padding
        view: Entry = {"buffer": 0, "byteLength": len(data)}
        if self.length:
            view["byteOffset"] = self.length
        if target is not None:
            view["target"] = target
        self.chunks.append(data)
        self.length += len(data)
        self.views.append(view)
        return len(self.views) - 1

    def add_array(self, array: npt.NDArray[Any], kind: str, component: int, target: int, **more: Any) -> int:
        """Append an array and describe it."""
        view = self.add_view(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, target)
        accessor = {"bufferView": view, "componentType": component, "count": len(array), "type": kind}
        self.accessors.append(accessor | more)
        return len(self.accessors) - 1

    def add_attributes(self, part: TexturedMesh) -> Entry:
        """Positions, and what else the part has and its material uses."""
        positions = part.vertices.astype(np.float32, copy=False)
        # One axis at a time: NumPy is five times slower along the long side of (n,3).
        axes = [positions[:, axis] for axis in range(3)]
        bounds = {"min": [float(x.min()) for x in axes], "max": [float(x.max()) for x in axes]}
        attributes = {"POSITION": self.add_array(positions, "VEC3", FLOAT, ARRAY_BUFFER, **bounds)}
        if part.normals is not None:
            attributes["NORMAL"] = self.add_array(unit_normals(part.normals), "VEC3", FLOAT, ARRAY_BUFFER)
        if part.uvs is not None and (self.keep_uvs or part.has_pictures):
            uvs = part.uvs.astype(np.float32, copy=False)
            attributes["TEXCOORD_0"] = self.add_array(uvs, "VEC2", FLOAT, ARRAY_BUFFER)
        if part.colours is not None:
            colours = part.colours.astype(np.uint8, copy=False)
            attributes["COLOR_0"] = self.add_array(
                colours, "VEC4", UNSIGNED_BYTE, ARRAY_BUFFER, normalized=True
            )
        return attributes

    def add_faces(self, part: TexturedMesh) -> int:
        """The indices, in two bytes each where they fit."""
        short = len(part.vertices) <= MOST_SHORT_VERTICES
        indices = part.faces.reshape(-1).astype(np.uint16 if short else np.uint32)
        component = UNSIGNED_SHORT if short else UNSIGNED_INT
        return self.add_array(indices, "SCALAR", component, ELEMENT_ARRAY_BUFFER)

    def add_primitive(self, part: TexturedMesh) -> Entry:
        """One part with its material."""
        return {
            "attributes": self.add_attributes(part),
            "indices": self.add_faces(part),
            "material": self.add_material(part),
            "mode": TRIANGLES,
        }

    def add_material(self, part: TexturedMesh) -> int:
        """The part's material, once for all parts that have it."""
        material, mapped = part.material, part.uvs is not None
        pbr: Entry = {
            "metallicFactor": _share(material.metallic),
            "roughnessFactor": _share(material.roughness),
        }
        entry: Entry = {"pbrMetallicRoughness": pbr}
        if material.name:
            entry["name"] = material.name
        if material.base_colour != (1.0, 1.0, 1.0, 1.0):
            pbr["baseColorFactor"] = [_share(value) for value in material.base_colour]
        if mapped:
            self._add_maps(entry, pbr, part)
        self._add_emission(entry, material)
        if material.alpha_mode != "OPAQUE":
            entry["alphaMode"] = material.alpha_mode
        if material.alpha_mode == "MASK":
            entry["alphaCutoff"] = max(0.0, material.alpha_cutoff)
        if material.double_sided:
            entry["doubleSided"] = True
        return self._number("materials", entry)

    def _add_maps(self, entry: Entry, pbr: Entry, part: TexturedMesh) -> None:
        material, wrap = part.material, part.material.wrap
        if part.texture is not None:
            base = Texture(data=part.texture, mime_type=part.texture_mime_type)
            pbr["baseColorTexture"] = self.add_texture(base, wrap)
        if material.metallic_roughness is not None:
            pbr["metallicRoughnessTexture"] = self.add_texture(material.metallic_roughness, wrap)
        if material.normal is not None:
            entry["normalTexture"] = self.add_texture(material.normal, wrap)
            if material.normal_scale != 1.0:
                entry["normalTexture"]["scale"] = material.normal_scale
        if material.occlusion is not None:
            entry["occlusionTexture"] = self.add_texture(material.occlusion, wrap)
            if material.occlusion_strength != 1.0:
                entry["occlusionTexture"]["strength"] = _share(material.occlusion_strength)
        if material.emissive is not None:
            entry["emissiveTexture"] = self.add_texture(material.emissive, wrap)

    def _add_emission(self, entry: Entry, material: Material) -> None:
        strength = max(material.emissive_colour)
        if strength <= 0.0:
            return
        factor = [max(0.0, value) / max(1.0, strength) for value in material.emissive_colour]
        entry["emissiveFactor"] = factor
        if strength > 1.0:
            self.extensions.add(EMISSIVE_STRENGTH)
            entry["extensions"] = {EMISSIVE_STRENGTH: {"emissiveStrength": strength}}

    def add_texture(self, texture: Texture, wrap: str) -> Entry:
        """How a material names the texture of this picture."""
        sampler: Entry = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR}
        if wrap != "repeat":
            sampler |= {"wrapS": WRAPS[wrap], "wrapT": WRAPS[wrap]}
        entry: Entry = {"sampler": self._number("samplers", sampler)}
        image = self.add_image(texture)
        if texture.mime_type == "image/webp":
            self.extensions.add(WEBP)
            entry["extensions"] = {WEBP: {"source": image}}
        else:
            entry["source"] = image
        return {"index": self._number("textures", entry)}

    def _number(self, kind: str, entry: Entry) -> int:
        """Where the list of this kind has such an entry; it is appended when it is new."""
        entries: list[Entry] = getattr(self, kind)
        key = (kind, json.dumps(entry, sort_keys=True))
        if key not in self._number_of:
            self._number_of[key] = len(entries)
            entries.append(entry)
        return self._number_of[key]

    def add_image(self, texture: Texture) -> int:
        """The picture, once for all textures that show it."""
        key = (texture.mime_type, texture.data)
        if key not in self._image_of:
            self._image_of[key] = len(self.images)
            self.pictures.append(texture)
            entry: Entry = {"mimeType": texture.mime_type}
            if self.embed:
                entry["bufferView"] = self.add_view(texture.data)
            self.images.append(entry)
        return self._image_of[key]

    def document(self, primitives: list[Entry], *, name: str, extras: Entry | None) -> Entry:
        """The JSON: one node with one mesh of these primitives."""
        asset: Entry = {"version": "2.0", "generator": GENERATOR}
        document: Entry = {
            "asset": asset | ({"extras": extras} if extras else {}),
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": name}],
            "meshes": [{"name": name, "primitives": primitives}],
            "materials": self.materials,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": self.length + -self.length % 4}],
        }
        for key in ("images", "samplers", "textures"):
            if entries := getattr(self, key):
                document[key] = entries
        if self.extensions:
            document["extensionsUsed"] = sorted(self.extensions)
        if required := sorted(self.extensions & {WEBP}):
            document["extensionsRequired"] = required
        return document


def build(
    model: Model, *, name: str, extras: dict[str, Any] | None, embed: bool, keep_uvs: bool = False
) -> tuple[Entry, GltfBuilder]:
    """The model's JSON, and its binary content and pictures. Raises BrokenModelOutput, see `check_part`."""
    parts = [part for part in model.parts if len(part.faces)]
    if not parts:
        raise BrokenModelOutput("The model has no faces.", code="empty_mesh")
    builder = GltfBuilder(embed=embed, keep_uvs=keep_uvs)
    for part in parts:
        check_part(part)
    primitives = [builder.add_primitive(part) for part in parts]
    return builder.document(primitives, name=name, extras=extras), builder


def check_part(part: TexturedMesh) -> None:
    """Raise BrokenModelOutput `nan_mesh` or `broken_mesh` for arrays that make no valid file."""
    count = len(part.vertices)
    if part.faces.min() < 0 or part.faces.max() >= count:
        raise BrokenModelOutput("A face names a vertex that does not exist.", code="broken_mesh")
    for what, array in (("vertices", part.vertices), ("normals", part.normals), ("uvs", part.uvs)):
        if array is None:
            continue
        if len(array) != count:
            raise BrokenModelOutput(f"{count} vertices have {len(array)} {what}.", code="broken_mesh")
        if not np.isfinite(array).all():
            raise BrokenModelOutput(f"Some {what} are no numbers.", code="nan_mesh")
    if part.colours is not None and part.colours.shape != (count, 4):
        raise BrokenModelOutput(f"{count} vertices have {len(part.colours)} colours.", code="broken_mesh")


def unit_normals(normals: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Normals (n,3) of length 1; those of no length point up, as any direction is as good."""
    normals = normals.astype(np.float32, copy=False)
    lengths = np.sqrt(np.einsum("ij,ij->i", normals, normals))
    wrong = np.abs(lengths - 1.0) > UNIT_TOLERANCE
    if not wrong.any():
        return normals
    rows = normals[wrong].astype(np.float64)
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    mended = normals.copy()
    mended[wrong] = np.where(sizes > 0, rows / np.maximum(sizes, 1e-300), (0.0, 1.0, 0.0))
    return mended


def _share(value: float) -> float:
    return min(1.0, max(0.0, float(value)))
