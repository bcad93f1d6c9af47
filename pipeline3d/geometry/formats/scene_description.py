"""A model as the plain values that the USD child makes a layer of: meshes, materials, pictures, origin."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline3d.geometry.formats.colour_cells import bake_cells, fits
from pipeline3d.geometry.formats.geometry_guard import drawable_parts
from pipeline3d.geometry.formats.pictures import (
    PNG,
    SUFFIXES,
    as_png_or_jpeg,
    decode,
    encode,
)
from pipeline3d.geometry.formats.usd_authoring import (
    DECODED_NORMAL_BIAS,
    DECODED_NORMAL_SCALE,
    UNCHANGED,
)
from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh

WRAPS = {"clamp": "clamp", "repeat": "repeat", "mirror": "mirror"}
UNBIASED = (0.0, 0.0, 0.0, 0.0)
LONGEST_TEXT = 100_000
INT64 = 1 << 63


@dataclass
class SceneDescription:
    """`scene` is JSON, its numbers name `blobs`; `limitations` say what USD viewers will not show."""

    scene: dict[str, Any]
    blobs: list[bytes] = field(default_factory=list)
    limitations: list[str] = field(default_factory=list)
    _pictures: dict[str, str] = field(default_factory=dict)

    def add(self, array: Any) -> int:
        """Keep an array's or a picture's bytes."""
        self.blobs.append(array if isinstance(array, bytes) else np.ascontiguousarray(array).tobytes())
        return len(self.blobs) - 1

    def add_picture(self, texture: Texture) -> str:
        """The path in the package; equal pictures are stored once."""
        usable = as_png_or_jpeg(texture)
        digest = hashlib.sha256(usable.data).hexdigest()
        if digest not in self._pictures:
            path = f"textures/texture_{len(self._pictures)}{SUFFIXES[usable.mime_type]}"
            self.scene["pictures"].append({"path": path, "blob": self.add(usable.data)})
            self._pictures[digest] = path
        return self._pictures[digest]


def describe_scene(model: Model, *, name: str, extras: dict[str, Any] | None) -> SceneDescription:
    """Raises BrokenModelOutput where the model cannot be drawn or a picture cannot be decoded."""
    found = SceneDescription(
        scene={
            "display_name": printable(name) or "model",
            "metadata": describe_metadata({"generator": "Pipeline3D", **(extras or {})}),
            "meshes": [],
            "materials": [],
            "pictures": [],
        }
    )
    for part in drawable_parts(model):
        _describe_part(found, part)
    return found


def describe_metadata(extras: dict[str, Any]) -> dict[str, Any]:
    """What customLayerData can hold: text, numbers and truth values; everything else as JSON text."""
    found: dict[str, Any] = {}
    for key, value in extras.items():
        plain = isinstance(value, str | bool | float) or (isinstance(value, int) and -INT64 <= value < INT64)
        if plain and not (isinstance(value, float) and not math.isfinite(value)):
            found[printable(str(key))] = printable(value) if isinstance(value, str) else value
        else:
            found[printable(str(key))] = printable(json.dumps(value, sort_keys=True, default=str))
    return found


def printable(text: str) -> str:
    """Without control characters and lone surrogates, which neither JSON nor USD takes."""
    kept = "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
    return kept.encode("utf-8", "ignore").decode()[:LONGEST_TEXT]


def _describe_part(found: SceneDescription, part: TexturedMesh) -> None:
    st, interpolation = None, "vertex"
    if part.uvs is not None:
        # glTF counts v from above, USD from below
        st = np.stack([part.uvs[:, 0], 1 - part.uvs[:, 1]], axis=1).astype(np.float32)
    baked = None
    if part.colours is not None:
        if part.texture is not None and part.uvs is not None:
            found.limitations.append("Vertex colours over a texture are not shown by Quick Look.")
        elif part.material.maps and part.uvs is not None:
            found.limitations.append("Vertex colours beside other material maps are not shown by Quick Look.")
        elif not fits(part):
            found.limitations.append(f"Vertex colours of {len(part.faces):,} faces fit in no texture.")
        else:
            pixels, corners = bake_cells(part)
            opaque = part.material.alpha_mode == "OPAQUE"
            baked = encode(pixels[..., :3] if opaque else pixels, PNG)
            st, interpolation = corners.reshape(-1, 2), "faceVarying"
            st = np.stack([st[:, 0], 1 - st[:, 1]], axis=1)
    material = _describe_material(found, part, baked)
    if material not in found.scene["materials"]:
        found.scene["materials"].append(material)
    low, high = part.vertices.min(axis=0), part.vertices.max(axis=0)
    colours = None
    if part.colours is not None:
        colours = found.add(part.colours[:, :3].astype(np.float32) / np.float32(255))
    found.scene["meshes"].append(
        {
            "points": found.add(part.vertices.astype(np.float32, copy=False)),
            "indices": found.add(part.faces.astype(np.int32, copy=False)),
            "normals": None if part.normals is None else found.add(part.normals.astype(np.float32)),
            "st": None if st is None else found.add(st.astype(np.float32, copy=False)),
            "st_interpolation": interpolation,
            "colours": colours,
            "extent": [low.tolist(), high.tolist()],
            "double_sided": part.material.double_sided,
            "material": found.scene["materials"].index(material),
        }
    )


def _describe_material(found: SceneDescription, part: TexturedMesh, baked: Texture | None) -> dict[str, Any]:
    """Constants as values, pictures with the factors as their scale, as UsdPreviewSurface defines them."""
    material = part.material
    if part.uvs is None:
        material = replace(material, metallic_roughness=None, normal=None, occlusion=None, emissive=None)
    network = _Network(found, "clamp" if baked else WRAPS[material.wrap])
    _describe_base_colour(network, part, material, baked)
    if material.metallic_roughness is None:
        network.value("metallic", "Float", material.metallic)
        network.value("roughness", "Float", material.roughness)
    else:
        scale = (1.0, material.roughness, material.metallic, 1.0)
        picture = network.picture("metallic_roughness", material.metallic_roughness, "raw", scale)
        network.connect("metallic", "Float", picture, "b")
        network.connect("roughness", "Float", picture, "g")
    if material.normal is not None:
        texture = strengthen_normals(material.normal, material.normal_scale)
        picture = network.picture("normal", texture, "raw", DECODED_NORMAL_SCALE, DECODED_NORMAL_BIAS)
        network.connect("normal", "Normal3f", picture, "rgb")
    if material.occlusion is not None:
        strength = material.occlusion_strength
        rest = 1.0 - strength
        picture = network.picture(
            "occlusion", material.occlusion, "raw", (strength,) * 3 + (1.0,), (rest,) * 3 + (0.0,)
        )
        network.connect("occlusion", "Float", picture, "r")
    if material.emissive is not None:
        picture = network.picture("emissive", material.emissive, "sRGB", (*material.emissive_colour, 1.0))
        network.connect("emissiveColor", "Color3f", picture, "rgb")
    elif any(material.emissive_colour):
        network.value("emissiveColor", "Color3f", list(material.emissive_colour))
    network.value("useSpecularWorkflow", "Int", 0)
    return {
        "display_name": printable(material.name),
        "values": network.values,
        "connections": network.connections,
        "pictures": network.pictures,
    }


def _describe_base_colour(
    network: _Network, part: TexturedMesh, material: Material, baked: Texture | None
) -> None:
    texture = baked
    if texture is None and part.texture is not None and part.uvs is not None:
        texture = Texture(data=part.texture, mime_type=part.texture_mime_type)
    see_through = material.alpha_mode != "OPAQUE"
    if texture is None:
        network.value("diffuseColor", "Color3f", list(material.base_colour[:3]))
        if see_through:
            network.value("opacity", "Float", material.base_colour[3])
    else:
        scale = (*material.base_colour[:3], material.base_colour[3] if see_through else 1.0)
        picture = network.picture("base_colour", texture, "sRGB", scale)
        network.connect("diffuseColor", "Color3f", picture, "rgb")
        if see_through:
            network.connect("opacity", "Float", picture, "a")
    if material.alpha_mode == "MASK":
        network.value("opacityThreshold", "Float", material.alpha_cutoff)


@dataclass
class _Network:
    """The inputs of one surface as they are collected."""

    scene: SceneDescription
    wrap: str
    values: list[list[Any]] = field(default_factory=list)
    connections: list[list[Any]] = field(default_factory=list)
    pictures: list[dict[str, Any]] = field(default_factory=list)

    def value(self, name: str, kind: str, value: Any) -> None:
        self.values.append([name, kind, value])

    def connect(self, name: str, kind: str, picture: int, channel: str) -> None:
        self.connections.append([name, kind, picture, channel])

    def picture(
        self,
        name: str,
        texture: Texture,
        colour_space: str,
        scale: tuple[float, ...] = UNCHANGED,
        bias: tuple[float, ...] = UNBIASED,
    ) -> int:
        """Add a picture's node and say its number."""
        self.pictures.append(
            {
                "name": name,
                "file": self.scene.add_picture(texture),
                "colour_space": colour_space,
                "wrap": self.wrap,
                "scale": list(scale),
                "bias": list(bias),
            }
        )
        return len(self.pictures) - 1


def strengthen_normals(texture: Texture, scale: float) -> Texture:
    """glTF's `normalTexture.scale` in the pixels: USD's picture node must keep its fixed decoding."""
    if scale == 1.0:
        return texture
    directions = decode(texture.data)[..., :3].astype(np.float32) / np.float32(127.5) - np.float32(1)
    directions[..., :2] *= np.float32(scale)
    directions /= np.maximum(np.linalg.norm(directions, axis=2, keepdims=True), np.float32(1e-6))
    return encode(((directions + 1) * np.float32(127.5) + np.float32(0.5)).astype(np.uint8), PNG)
