"""STL and PLY files as a model. trimesh reads them, after what their headers claim was checked.

STL stores every triangle with corners of its own: equal corners become one vertex again.
"""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry import topology
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.import_parts import check_model
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.refusals import broken, refused

STL_HEADER_BYTES, STL_TRIANGLE_BYTES = 84, 50
PLY_HEADER_BYTES = 65_536
LONGEST_COUNT = 18
"""Digits; Python itself refuses to read some thousands of them."""
PLY_SIZES = {
    "char": 1,
    "uchar": 1,
    "int8": 1,
    "uint8": 1,
    "short": 2,
    "ushort": 2,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "int": 4,
    "uint": 4,
    "int32": 4,
    "uint32": 4,
    "float": 4,
    "float32": 4,
    "double": 8,
    "float64": 8,
    "int64": 8,
    "uint64": 8,
}


def read_stl(data: bytes, limits: ImportLimits, notes: list[str]) -> Model:
    """A binary or text STL. Raises UnusableInput."""
    if len(data) < STL_HEADER_BYTES and not data.lstrip().startswith(b"solid"):
        raise broken(f"{len(data)} bytes are too few")
    (claimed,) = struct.unpack_from("<I", data, 80) if len(data) >= STL_HEADER_BYTES else (0,)
    binary = len(data) == STL_HEADER_BYTES + claimed * STL_TRIANGLE_BYTES
    if not binary and not data.lstrip()[:5].lower() == b"solid":
        raise broken(f"it says {claimed:,} triangles and has {len(data):,} bytes")
    faces = claimed if binary else data.count(b"endfacet")
    _check_count(faces, limits)
    if not binary and b"endsolid" not in data:
        raise broken("its text is cut short")
    return check_model([weld(part) for part in _read(data, "stl", notes)], limits)


def read_ply(data: bytes, limits: ImportLimits, notes: list[str]) -> Model:
    """A binary or text PLY with its vertex colours. Raises UnusableInput."""
    _check_ply_header(data, limits)
    return check_model(_read(data, "ply", notes), limits)


def _read(data: bytes, kind: str, notes: list[str]) -> list[TexturedMesh]:
    import trimesh

    try:
        # Not `load`, which asks for the meaning of names and paths: these bytes and nothing else.
        scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, process=False, skip_materials=True)
        meshes = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]
        parts = [as_part(mesh) for mesh in meshes if len(mesh.faces)]
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes of the reader
        raise broken(f"its {kind.upper()} cannot be read ({type(error).__name__})") from error
    if not parts:
        raise refused("empty_mesh", "it has no faces")
    return parts


def as_part(mesh: Any) -> TexturedMesh:
    """trimesh's mesh as ours: its vertex colours are sRGB, ours are linear."""
    with np.errstate(over="ignore"):  # what overflows is refused afterwards
        vertices = np.asarray(mesh.vertices, np.float64).astype(np.float32)
    colours = None
    if mesh.visual.kind == "vertex":
        colours = as_linear(np.asarray(mesh.visual.vertex_colors, np.uint8).reshape(len(vertices), 4))
    normals = None
    if "vertex_normals" in mesh._cache and len(mesh.vertex_normals) == len(vertices):
        normals = np.array(mesh.vertex_normals, np.float32)
    faces = np.array(mesh.faces, np.int64)
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise broken("a face names a vertex that does not exist")
    return TexturedMesh(vertices=vertices, faces=faces.astype(np.int32), normals=normals, colours=colours)


def as_linear(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Colours (n,4): sRGB becomes linear, alpha stays."""
    table = np.round(to_linear(np.arange(256, dtype=np.float32) / 255.0) * 255.0).astype(np.uint8)
    return np.column_stack([table[colours[:, :3]], colours[:, 3]])


def weld(part: TexturedMesh) -> TexturedMesh:
    """Vertices of exactly equal coordinates as one."""
    points = topology.weld(part.vertices)
    return TexturedMesh(vertices=part.vertices[points.first], faces=points.labels[part.faces])


def _check_count(faces: int, limits: ImportLimits) -> None:
    if faces > limits.faces:
        raise refused("model_too_large", f"it has {faces:,} faces; at most {limits.faces:,} are taken")


def _check_ply_header(data: bytes, limits: ImportLimits) -> None:
    head, found, body = data[:PLY_HEADER_BYTES].partition(b"end_header")
    if not head.startswith(b"ply") or not found:
        raise broken("its header is damaged")
    text = b"format ascii" in head
    least = 0
    for element in re.split(rb"^element\s+", head, flags=re.MULTILINE)[1:]:
        lines = element.split(b"\n")
        words = lines[0].split()
        if len(words) != 2 or not words[1].isdigit() or len(words[1]) > LONGEST_COUNT:
            raise broken("its header is damaged")
        name, count = words[0], int(words[1])
        if name == b"face":
            _check_count(count, limits)
        elif count > limits.vertices:
            raise refused(
                "model_too_large", f"it has {count:,} vertices; at most {limits.vertices:,} are taken"
            )
        least += count * _least_row(lines[1:], text=text)
    if least > len(data) - len(head):
        raise broken("it is cut short")


def _least_row(lines: list[bytes], *, text: bool) -> int:
    """How many bytes one entry of an element has at least."""
    properties = [line.split() for line in lines if line.strip().startswith(b"property")]
    if any(len(words) < (5 if words[1:2] == [b"list"] else 3) for words in properties):
        raise broken("its header is damaged")
    if text:
        return 2 * len(properties)
    sizes = [
        PLY_SIZES.get(words[1 if words[1] != b"list" else 2].decode("ascii", "replace"))
        for words in properties
    ]
    if None in sizes:
        raise broken("its header names an unknown type")
    return sum(size for size in sizes if size is not None)
