"""The materials of a glTF document as ours: every map, its wrapping, and where its coordinates come from.

A `Material` has one set of texture coordinates. The base colour's decides (or the first other map's); a
map that uses another set or another transform cannot be kept, and a note says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.gltf_container import (
    EMISSIVE_STRENGTH,
    MIRRORED_REPEAT,
    REPEAT,
    WEBP,
    WRAPS,
    entry_of,
)
from pipeline3d.geometry.mesh import MATT, Material, Texture
from pipeline3d.geometry.refusals import broken, refused

Entry = dict[str, Any]
Wrap = Literal["clamp", "repeat", "mirror"]
SPECULAR, TRANSFORM = "KHR_materials_pbrSpecularGlossiness", "KHR_texture_transform"
DIELECTRIC = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Which texture coordinates a map uses: TEXCOORD_`uv_set`, moved by a matrix (2,3) in rows."""

    uv_set: int = 0
    transform: tuple[float, ...] | None = None

    def apply(self, uvs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Coordinates (n,2) as the picture is looked up."""
        if self.transform is None:
            return uvs
        matrix = np.reshape(np.array(self.transform, np.float64), (2, 3))
        return (uvs @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A material with its base colour's picture and its mapping."""

    material: Material = MATT
    base: Texture | None = None
    mapping: Mapping = field(default_factory=Mapping)


@dataclass
class Materials:
    """A document's materials. `read_image` gives the picture of an image by its number."""

    document: Entry
    read_image: Callable[[int], Texture]
    note: Callable[[str], None]
    _read: dict[int | None, Surface] = field(default_factory=dict)

    def read(self, index: int | None) -> Surface:
        """The material with this number; a primitive without one has our matt surface.

        (The format's default for such a primitive is bare metal, which nobody means.)
        """
        if index not in self._read:
            self._read[index] = (
                Surface() if index is None else self._convert(entry_of(self.document, "materials", index))
            )
        return self._read[index]

    def _convert(self, entry: Entry) -> Surface:
        pbr = entry.get("pbrMetallicRoughness", {})
        extensions = entry.get("extensions", {})
        factors = {
            "base_colour": _floats(pbr.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0)), 4),
            "metallic": _number(pbr.get("metallicFactor", 1.0)),
            "roughness": _number(pbr.get("roughnessFactor", 1.0)),
        }
        base = pbr.get("baseColorTexture")
        if SPECULAR in extensions and not pbr:
            factors, base = _from_specular(extensions[SPECULAR])
        normal, occlusion = entry.get("normalTexture"), entry.get("occlusionTexture")
        maps = {
            "base": base,
            "metallic_roughness": pbr.get("metallicRoughnessTexture"),
            "normal": normal,
            "occlusion": occlusion,
            "emissive": entry.get("emissiveTexture"),
        }
        strength = _number(extensions.get(EMISSIVE_STRENGTH, {}).get("emissiveStrength", 1.0))
        material = Material(
            name=str(entry.get("name", "")),
            **factors,
            emissive_colour=_floats([strength * v for v in entry.get("emissiveFactor", (0.0, 0.0, 0.0))], 3),
            normal_scale=_number((normal or {}).get("scale", 1.0)),
            occlusion_strength=_number((occlusion or {}).get("strength", 1.0)),
            alpha_mode=_alpha_mode(entry.get("alphaMode", "OPAQUE")),
            alpha_cutoff=_number(entry.get("alphaCutoff", 0.5)),
            double_sided=bool(entry.get("doubleSided", False)),
        )
        return self._with_maps(material, {name: info for name, info in maps.items() if info is not None})

    def _with_maps(self, material: Material, maps: dict[str, Entry]) -> Surface:
        if not maps:
            return Surface(material=material)
        first = next(iter(maps.values()))
        mapping = _mapping_of(first)
        kept: dict[str, Any] = {}
        for name, info in maps.items():
            if _mapping_of(info) == mapping:
                kept[name] = self._picture(info)
            else:
                self.note(f"The {name} map of material '{material.name}' has other texture coordinates.")
        base = kept.pop("base", None)
        whole: Material = replace(material, wrap=self._wrap(first), **kept)
        return Surface(material=whole, base=base, mapping=mapping)

    def _picture(self, info: Entry) -> Texture:
        texture = entry_of(self.document, "textures", info["index"])
        source = texture.get("source", texture.get("extensions", {}).get(WEBP, {}).get("source"))
        if source is None:
            kinds = ", ".join(texture.get("extensions", {})) or "nothing"
            raise refused("unsupported_texture", f"a texture is {kinds}")
        entry_of(self.document, "images", source)
        return self.read_image(source)

    def _wrap(self, info: Entry) -> Wrap:
        texture = entry_of(self.document, "textures", info["index"])
        sampler = entry_of(self.document, "samplers", texture["sampler"]) if "sampler" in texture else {}
        wraps: dict[int, Wrap] = {WRAPS["clamp"]: "clamp", REPEAT: "repeat", MIRRORED_REPEAT: "mirror"}
        return wraps.get(sampler.get("wrapS", REPEAT), "repeat")


def _mapping_of(info: Entry) -> Mapping:
    moved = info.get("extensions", {}).get(TRANSFORM)
    uv_set = int(info.get("texCoord", 0))
    if moved is None:
        return Mapping(uv_set=uv_set)
    uv_set = int(moved.get("texCoord", uv_set))
    (u, v), (across, down) = _floats(moved.get("offset", (0, 0)), 2), _floats(moved.get("scale", (1, 1)), 2)
    turn = _number(moved.get("rotation", 0.0))
    sine, cosine = np.sin(turn), np.cos(turn)
    matrix = (cosine * across, sine * down, u, -sine * across, cosine * down, v)
    return Mapping(uv_set=uv_set, transform=tuple(float(value) for value in matrix))


def _from_specular(entry: Entry) -> tuple[dict[str, Any], Entry | None]:
    """Old exporters' specular and glossiness, as a dielectric or, where specular is strong, as a metal."""
    specular = max(_floats(entry.get("specularFactor", (1.0, 1.0, 1.0)), 3))
    textured = "specularGlossinessTexture" in entry
    factors = {
        "base_colour": _floats(entry.get("diffuseFactor", (1.0, 1.0, 1.0, 1.0)), 4),
        "metallic": 0.0 if textured else min(1.0, max(0.0, (specular - DIELECTRIC) / 0.96) ** 2),
        "roughness": 0.8 if textured else 1.0 - _number(entry.get("glossinessFactor", 1.0)),
    }
    return factors, entry.get("diffuseTexture")


def _floats(values: Any, count: int) -> Any:
    found = tuple(float(value) for value in values)
    if len(found) != count or not np.isfinite(found).all():
        raise broken(f"a material has {values!r} where {count} numbers are wanted")
    return found


def _number(value: Any) -> float:
    return float(_floats((value,), 1)[0])


def _alpha_mode(word: object) -> Any:
    return word if word in ("MASK", "BLEND") else "OPAQUE"
