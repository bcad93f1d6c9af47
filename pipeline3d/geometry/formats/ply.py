"""Binary PLY: positions, normals, and one sRGB colour for each vertex, a texture's included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline3d.geometry.formats.geometry_guard import drawable_parts
from pipeline3d.geometry.formats.surface_colour import DecodedPictures, vertex_colours
from pipeline3d.geometry.formats.whole_files import write_whole
from pipeline3d.geometry.mesh import Model, TexturedMesh

POSITION: list[Any] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
NORMAL: list[Any] = [("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4")]
COLOUR: list[Any] = [("red", "u1"), ("green", "u1"), ("blue", "u1"), ("alpha", "u1")]
FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
PLY_TYPES = {"<f4": "float", "u1": "uchar"}


def write_ply(model: Model, path: Path) -> None:
    """All parts as one mesh in the model's own unit; readers take the colours for sRGB.

    A texture is sampled at the vertices: detail between them is lost.
    """
    parts = drawable_parts(model)
    with_normals = all(part.normals is not None for part in parts)
    fields = POSITION + (NORMAL if with_normals else []) + COLOUR
    pictures = DecodedPictures()
    vertices = np.concatenate([_vertex_table(part, fields, pictures) for part in parts])
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    corners = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])
    faces = np.empty(len(corners), FACE)
    faces["count"], faces["corners"] = 3, corners
    lines = ["ply", "format binary_little_endian 1.0", "comment Pipeline3D"]
    lines += [
        f"element vertex {len(vertices)}",
        *(f"property {PLY_TYPES[kind]} {name}" for name, kind in fields),
    ]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    write_whole(path, "\n".join(lines).encode(), vertices.tobytes(), faces.tobytes())


def _vertex_table(part: TexturedMesh, fields: list[Any], pictures: DecodedPictures) -> Any:
    table = np.empty(len(part.vertices), np.dtype(fields))
    sources: list[tuple[list[Any], Any]] = [
        (POSITION, part.vertices),
        (COLOUR, vertex_colours(part, pictures)),
    ]
    if part.normals is not None:
        sources.append((NORMAL, part.normals))
    for names, values in sources:
        for column, (name, _) in enumerate(names):
            if name in (table.dtype.names or ()):
                table[name] = values[:, column]
    return table
