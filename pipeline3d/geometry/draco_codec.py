"""KHR_draco_mesh_compression: one primitive to a Draco bitstream and back, by DracoPy.

The stream's own header is checked before the native decoder sees it. That bounds the faces, not the time: one
changed byte of an entropy table can keep Draco busy for 20 seconds (measured), so that streams of strangers
must be decoded in a child process with a limit on its time. Draco bitstream specification 2.2, sections 4
and 5.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.quantising import Grid, Precision
from pipeline3d.geometry.refusals import broken, refused

Bytes = bytes | memoryview

EXTENSION = "KHR_draco_mesh_compression"
EFFORT = 7
"""Draco's compression level, the encoder's own default in its command line."""
LEAST_NORMAL_BITS = 10
"""Draco's 8 bits would turn normals further than meshopt's, and 10 cost it little."""
HEADER_BYTES, LONGEST_NUMBER = 11, 5
METADATA_FLAG = 0x8000
TRIANGULAR_MESH, EDGEBREAKER = 1, 1
NAMES = {0: "POSITION", 1: "NORMAL", 2: "COLOR_0", 3: "TEXCOORD_0"}
"""Draco's attribute types as glTF's attributes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribute:
    """An array (n,k) of a stream, and what Draco says that it is."""

    kind: int
    values: npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DracoMesh:
    """What a stream holds: faces (m,3), and attributes by unique id, of n vertices each."""

    faces: npt.NDArray[np.uint32]
    vertex_count: int
    attributes: dict[int, Attribute]

    def named(self) -> dict[str, int]:
        """The unique id of each attribute that glTF has a name for."""
        return {NAMES[found.kind]: key for key, found in self.attributes.items() if found.kind in NAMES}


def encode_part(part: TexturedMesh, grid: Grid, precision: Precision) -> bytes:
    """Compress a part on a model's grid.

    Draco orders vertices and faces anew, splits vertices where the surface is not manifold and drops faces
    with two equal corners, so what is written of counts must be taken from `decode_stream`.
    """
    draco: Any = importlib.import_module("DracoPy")  # has no types
    data: bytes = draco.encode(
        part.vertices.astype(np.float32),
        part.faces.astype(np.uint32),
        quantization_bits=grid.bits,
        quantization_range=grid.step * (2**grid.bits - 1),
        quantization_origin=np.array(grid.origin),
        compression_level=EFFORT,
        tex_coord=None if part.uvs is None else part.uvs.astype(np.float64),
        tex_coord_quantization_bits=precision.uv_bits,
        normals=None if part.normals is None else part.normals.astype(np.float64),
        normal_quantization_bits=max(LEAST_NORMAL_BITS, precision.normal_bits),
        colors=part.colours,
    )
    return data


def decode_stream(data: Bytes, *, most_faces: int) -> DracoMesh:
    """The mesh of a stream. Raises UnusableInput `broken_model_file`, `model_too_large`."""
    draco: Any = importlib.import_module("DracoPy")  # has no types
    faces = read_face_count(data)
    if faces > most_faces:
        raise refused("model_too_large", f"a mesh has {faces:,} faces; at most {most_faces:,} are taken")
    try:
        found = draco.decode(bytes(data))
    except Exception as error:  # DracoPy raises what its C++ part makes of a damaged stream
        raise broken(f"a Draco stream cannot be decoded ({type(error).__name__})") from error
    attributes = {int(entry["unique_id"]): _as_attribute(entry) for entry in found.attributes}
    indices = np.asarray(found.faces, np.uint32).reshape(-1, 3)
    counts = {len(found.values) for found in attributes.values()}
    if not len(indices) or len(counts) != 1 or int(indices.max()) >= min(counts):
        raise broken("a Draco stream holds no whole mesh")
    return DracoMesh(faces=indices, vertex_count=counts.pop(), attributes=attributes)


def _as_attribute(entry: dict[str, Any]) -> Attribute:
    values = np.asarray(entry["data"])
    return Attribute(kind=int(entry["attribute_type"]), values=values.reshape(len(values), -1))


def read_face_count(data: Bytes) -> int:
    """How many faces a stream says it has, before it is decoded.

    Raises UnusableInput `broken_model_file` for what is no stream of triangles of version 2.2.
    """
    head = bytes(data[: HEADER_BYTES + 2 * LONGEST_NUMBER + 1])
    if len(head) < HEADER_BYTES + 2 or head[:5] != b"DRACO":
        raise broken("a compressed mesh is no Draco stream")
    major, minor, kind, method = head[5:9]
    flags = int.from_bytes(head[9:11], "little")
    if (major, minor) != (2, 2) or kind != TRIANGULAR_MESH or method > EDGEBREAKER:
        raise broken(f"a Draco stream is of version {major}.{minor} and kind {kind}, {method}")
    if flags & METADATA_FLAG:
        raise broken("a Draco stream has metadata, which glTF has no use for")
    if method == EDGEBREAKER:
        _, at = _read_number(head, HEADER_BYTES + 1)  # the kind of traversal, then the vertices
        return _read_number(head, at)[0]
    return _read_number(head, HEADER_BYTES)[0]


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where the next one starts."""
    number = 0
    for place in range(LONGEST_NUMBER):
        if at + place >= len(data):
            break
        number |= (data[at + place] & 0x7F) << (7 * place)
        if data[at + place] < 0x80:
            return number, at + place + 1
    raise broken("a Draco stream ends within its header")
