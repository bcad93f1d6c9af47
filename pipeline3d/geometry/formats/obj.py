"""Wavefront OBJ with an MTL and its pictures, each number at the precision of a 32-bit float.

The MTL uses the common PBR keys (Pr, Pm, map_Pr, map_Pm, norm, map_Ke; Clara.io's extension, read by
Blender, three.js and others) beside Kd. Vertex colours follow the coordinates, as MeshLab began it; those
and Kd are sRGB. A picture that is clamped is written as it is: OBJ readers repeat, which differs only
outside of 0 to 1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline3d.geometry.colour_space import to_srgb
from pipeline3d.geometry.formats.geometry_guard import drawable_parts
from pipeline3d.geometry.formats.pictures import PNG, SUFFIXES, Pixels, as_png_or_jpeg, decode, encode
from pipeline3d.geometry.formats.surface_colour import DecodedPictures, vertex_colours
from pipeline3d.geometry.formats.text_tables import (
    Characters,
    decimals_for,
    integer_columns,
    join_rows,
    number_columns,
)
from pipeline3d.geometry.formats.whole_files import write_whole
from pipeline3d.geometry.mesh import Model, Texture, TexturedMesh

COLOUR_DECIMALS, UV_DECIMALS, NORMAL_DECIMALS = 4, 7, 6
LONGEST_STEM = 60


def write_obj(model: Model, folder: Path, *, name: str) -> list[Path]:
    """`name`.obj, `name`.mtl and the pictures in an existing folder; the paths, the OBJ first.

    Raises BrokenModelOutput where the model is unusable, OSError where the disk is.
    """
    stem = file_stem(name)
    materials = _Materials(folder=folder, stem=stem)
    decimals = decimals_for(np.concatenate([part.vertices for part in drawable_parts(model)]))
    pieces: list[bytes] = [f"# Pipeline3D\nmtllib {stem}.mtl\n".encode()]
    starts, pictures = [1, 1, 1], DecodedPictures()
    # readers take the first line for the width of all
    coloured = any(_shows_vertex_colours(part) for part in drawable_parts(model))
    for index, part in enumerate(drawable_parts(model)):
        pieces.append(f"o part_{index}\n".encode())
        pieces += _vertex_lines(part, decimals, pictures, coloured=coloured)
        pieces.append(f"usemtl {materials.add(part)}\n".encode())
        pieces.append(_face_lines(part, starts))
        counts = (len(part.vertices), _count(part.uvs), _count(part.normals))
        starts = [start + count for start, count in zip(starts, counts, strict=True)]
    written = materials.write()
    path = folder / f"{stem}.obj"
    write_whole(path, *pieces)
    return [path, *written]


def file_stem(name: str) -> str:
    """A file name without blanks, separators and letters that MTL readers or file systems stumble over."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:LONGEST_STEM].strip("_-") or "model"


def _count(array: object) -> int:
    return len(array) if isinstance(array, np.ndarray) else 0


def _shows_vertex_colours(part: TexturedMesh) -> bool:
    return part.colours is not None and part.texture is None


def _vertex_lines(
    part: TexturedMesh, decimals: int, pictures: DecodedPictures, *, coloured: bool
) -> list[bytes]:
    columns = number_columns(part.vertices, decimals)
    if coloured:
        colours = np.ones((len(part.vertices), 3), np.float32)
        if _shows_vertex_colours(part):
            colours = vertex_colours(part, pictures)[:, :3].astype(np.float32) / np.float32(255)
        columns += number_columns(colours, COLOUR_DECIMALS)
    lines = [_lines(b"v", columns)]
    if part.uvs is not None:
        # glTF counts v from above, OBJ from below
        upward = np.stack([part.uvs[:, 0], 1 - part.uvs[:, 1].astype(np.float64)], axis=1)
        lines.append(_lines(b"vt", number_columns(upward, UV_DECIMALS)))
    if part.normals is not None:
        lines.append(_lines(b"vn", number_columns(part.normals, NORMAL_DECIMALS)))
    return lines


def _lines(keyword: bytes, columns: Sequence[Characters]) -> bytes:
    spaced: list[bytes | Characters] = [keyword]
    for column in columns:
        spaced += [b" ", column]
    return join_rows([*spaced, b"\n"])


def _face_lines(part: TexturedMesh, starts: Sequence[int]) -> bytes:
    """`f position/uv/normal …`, of which uv and normal have the position's number after their own start."""
    fields: list[bytes | Characters] = [b"f"]
    kinds = [integer_columns(part.faces + np.int64(start)) for start in starts]
    for corner in range(3):
        fields += [b" ", kinds[0][corner]]
        if part.uvs is not None or part.normals is not None:
            fields.append(b"/")
        if part.uvs is not None:
            fields.append(kinds[1][corner])
        if part.normals is not None:
            fields += [b"/", kinds[2][corner]]
    return join_rows([*fields, b"\n"])


@dataclass
class _Materials:
    """The MTL and its pictures as they are collected; equal ones are written once."""

    folder: Path
    stem: str
    names: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def add(self, part: TexturedMesh) -> str:
        """The material's name for `usemtl`."""
        text = "\n".join(self._describe(part))
        return self.names.setdefault(text, f"material_{len(self.names)}")

    def write(self) -> list[Path]:
        """The MTL, then the pictures."""
        path = self.folder / f"{self.stem}.mtl"
        entries = [f"newmtl {name}\n{text}\n" for text, name in self.names.items()]
        write_whole(path, "\n".join(["# Pipeline3D", *entries]).encode())
        written = [path]
        for name, data in self.pictures.values():
            write_whole(self.folder / name, data)
            written.append(self.folder / name)
        return written

    def _describe(self, part: TexturedMesh) -> list[str]:
        material = part.material
        # vertex colours have the factor in them
        factor = (1.0, 1.0, 1.0) if _shows_vertex_colours(part) else material.base_colour
        lines = [
            f"Kd {_colour(factor)}",
            "Ks 0 0 0",
            f"Pr {material.roughness:g}",
            f"Pm {material.metallic:g}",
        ]
        if any(material.emissive_colour):
            lines.append(f"Ke {_colour(material.emissive_colour)}")
        if material.alpha_mode == "BLEND":
            lines.append(f"d {material.base_colour[3]:g}")
        return lines + ([] if part.uvs is None else self._describe_pictures(part))

    def _describe_pictures(self, part: TexturedMesh) -> list[str]:
        material, lines = part.material, []
        if part.texture is not None:
            base = Texture(data=part.texture, mime_type=part.texture_mime_type)
            lines.append(f"map_Kd {self._keep('base_colour', as_png_or_jpeg(base))}")
            if material.alpha_mode != "OPAQUE":
                pixels = decode(part.texture)
                if pixels.shape[2] == 4:
                    lines.append(f"map_d {self._keep('opacity', _grey(pixels, 3))}")
        if material.metallic_roughness is not None:
            pixels = decode(material.metallic_roughness.data)
            lines.append(f"map_Pr {self._keep('roughness', _grey(pixels, 1))}")
            lines.append(f"map_Pm {self._keep('metallic', _grey(pixels, 2))}")
        if material.normal is not None:
            lines.append(f"norm {self._keep('normal', as_png_or_jpeg(material.normal))}")
        if material.occlusion is not None:
            lines.append(f"map_Ka {self._keep('occlusion', _grey(decode(material.occlusion.data), 0))}")
        if material.emissive is not None:
            lines.append(f"map_Ke {self._keep('emissive', as_png_or_jpeg(material.emissive))}")
        return lines

    def _keep(self, purpose: str, texture: Texture) -> str:
        digest = hashlib.sha256(texture.data).hexdigest()
        name = f"{self.stem}_{purpose}_{len(self.pictures)}{SUFFIXES[texture.mime_type]}"
        return self.pictures.setdefault(digest, (name, texture.data))[0]


def _grey(pixels: Pixels, channel: int) -> Texture:
    return encode(pixels[..., channel], PNG)


def _colour(linear: Sequence[float]) -> str:
    return " ".join(f"{value:.6g}" for value in to_srgb(np.clip(np.array(linear[:3]), 0, 1)).tolist())
