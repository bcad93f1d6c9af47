"""Binary glTF 2.0 with one textured mesh: encode to bytes, decode from bytes.

Writes the container itself (Khronos glTF 2.0 specification, sections 3.6 and 4.4), so that the JPEG goes
in as it is, the material is explicit (metallic 0; the format's default is 1 and renders black) and equal
meshes give equal bytes. The decoder reads what the encoder writes, plus unindexed and 8/16-bit indexed
single meshes; anything else, and anything that lies about its lengths, is `BrokenModelOutput`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.mesh import TexturedMesh

GENERATOR = "Pipeline3D"
ROUGHNESS = 0.85
"""A matt surface: a photograph already holds the highlights of its own light."""

MAGIC, VERSION = 0x46546C67, 2
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
HEADER_BYTES, CHUNK_HEADER_BYTES = 12, 8
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
UNSIGNED_BYTE, UNSIGNED_SHORT, UNSIGNED_INT, FLOAT = 5121, 5123, 5125, 5126
TRIANGLES = 4
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071
DTYPES: dict[int, Any] = {
    UNSIGNED_BYTE: np.uint8,
    UNSIGNED_SHORT: np.uint16,
    UNSIGNED_INT: np.uint32,
    FLOAT: np.float32,
}
COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
MAX_ELEMENTS = 50_000_000
"""More vertices or indices than any model that this project makes: such a count is a lie."""


@dataclass
class _Binary:
    """The binary chunk as it grows, with its buffer views and accessors."""

    content: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def add_view(self, data: bytes, target: int | None = None) -> int:
        """Append bytes at a multiple of four."""
        self.content.extend(b"\0" * (-len(self.content) % 4))
        view = {"buffer": 0, "byteOffset": len(self.content), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.content.extend(data)
        self.views.append(view)
        return len(self.views) - 1

    def add_array(self, array: npt.NDArray[Any], kind: str, component: int, target: int, **extra: Any) -> int:
        """Append an array and describe it."""
        view = self.add_view(np.ascontiguousarray(array).tobytes(), target)
        accessor = {"bufferView": view, "componentType": component, "count": len(array), "type": kind}
        self.accessors.append(accessor | extra)
        return len(self.accessors) - 1


def encode_glb(mesh: TexturedMesh, *, name: str, extras: dict[str, Any] | None = None) -> bytes:
    """The mesh as one GLB file; `extras` is what the asset says of its origin."""
    binary = _Binary()
    attributes = _add_attributes(binary, mesh)
    indices = mesh.faces.reshape(-1).astype(np.uint32)
    primitive = {
        "attributes": attributes,
        "indices": binary.add_array(indices, "SCALAR", UNSIGNED_INT, ELEMENT_ARRAY_BUFFER),
        "material": 0,
        "mode": TRIANGLES,
    }
    material: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    asset: dict[str, Any] = {"version": "2.0", "generator": GENERATOR}
    document: dict[str, Any] = {
        "asset": asset | ({"extras": extras} if extras else {}),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "meshes": [{"name": name, "primitives": [primitive]}],
        "materials": [{"name": name, "pbrMetallicRoughness": material}],
    }
    if mesh.texture is not None:
        material["baseColorTexture"] = {"index": 0}
        document["images"] = [
            {"bufferView": binary.add_view(mesh.texture), "mimeType": mesh.texture_mime_type}
        ]
        document["samplers"] = [
            {
                "magFilter": LINEAR,
                "minFilter": LINEAR_MIPMAP_LINEAR,
                "wrapS": CLAMP_TO_EDGE,
                "wrapT": CLAMP_TO_EDGE,
            }
        ]
        document["textures"] = [{"sampler": 0, "source": 0}]
    binary.content.extend(b"\0" * (-len(binary.content) % 4))
    document |= {
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.content)}],
    }
    return _pack(document, bytes(binary.content))


def _add_attributes(binary: _Binary, mesh: TexturedMesh) -> dict[str, int]:
    positions = mesh.vertices.astype(np.float32)
    bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    attributes = {"POSITION": binary.add_array(positions, "VEC3", FLOAT, ARRAY_BUFFER, **bounds)}
    if mesh.normals is not None:
        attributes["NORMAL"] = binary.add_array(mesh.normals.astype(np.float32), "VEC3", FLOAT, ARRAY_BUFFER)
    if mesh.uvs is not None:
        attributes["TEXCOORD_0"] = binary.add_array(mesh.uvs.astype(np.float32), "VEC2", FLOAT, ARRAY_BUFFER)
    if mesh.colours is not None:
        attributes["COLOR_0"] = binary.add_array(
            mesh.colours.astype(np.uint8), "VEC4", UNSIGNED_BYTE, ARRAY_BUFFER, normalized=True
        )
    return attributes


def _pack(document: dict[str, Any], content: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 4)
    total = HEADER_BYTES + 2 * CHUNK_HEADER_BYTES + len(text) + len(content)
    return b"".join(
        (
            struct.pack("<III", MAGIC, VERSION, total),
            struct.pack("<II", len(text), JSON_CHUNK),
            text,
            struct.pack("<II", len(content), BINARY_CHUNK),
            content,
        )
    )


def decode_glb(data: bytes) -> TexturedMesh:
    """The one mesh of a GLB. Raises BrokenModelOutput for everything that is not such a file."""
    try:
        document, content = _unpack(data)
        return _read_mesh(document, content)
    except BrokenModelOutput:
        raise
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise _broken(
            f"its description does not fit its content ({type(error).__name__}: {error})"
        ) from error


def read_document(data: bytes) -> dict[str, Any]:
    """The JSON part of a GLB. Raises BrokenModelOutput."""
    return _unpack(data)[0]


def _broken(reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"The GLB cannot be read: {reason}.", code="broken_glb")


def _unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) < HEADER_BYTES + CHUNK_HEADER_BYTES:
        raise _broken(f"{len(data)} bytes are too few")
    magic, version, total = struct.unpack_from("<III", data)
    if magic != MAGIC or version != VERSION:
        raise _broken("it is not binary glTF 2.0")
    if total != len(data):
        raise _broken(f"it says {total} bytes and has {len(data)}")
    chunks: dict[int, bytes] = {}
    at = HEADER_BYTES
    while at + CHUNK_HEADER_BYTES <= len(data):
        length, kind = struct.unpack_from("<II", data, at)
        at += CHUNK_HEADER_BYTES
        if at + length > len(data):
            raise _broken("a chunk is longer than the file")
        chunks.setdefault(kind, data[at : at + length])
        at += length
    try:
        document = json.loads(chunks.get(JSON_CHUNK, b""))
    except (ValueError, RecursionError) as error:
        raise _broken("its JSON is damaged") from error
    if not isinstance(document, dict):
        raise _broken("its JSON is no object")
    return document, chunks.get(BINARY_CHUNK, b"")


def _read_mesh(document: dict[str, Any], content: bytes) -> TexturedMesh:
    primitives = [primitive for mesh in document.get("meshes", []) for primitive in mesh["primitives"]]
    if len(primitives) != 1 or primitives[0].get("mode", TRIANGLES) != TRIANGLES:
        raise _broken(f"one mesh of triangles is wanted, it has {len(primitives)} primitives")
    for node in document.get("nodes", []):
        if {"matrix", "translation", "rotation", "scale", "children"} & set(node):
            raise _broken("its nodes are transformed")
    attributes = primitives[0]["attributes"]

    def read(name: str, kind: str) -> npt.NDArray[np.float32] | None:
        if name not in attributes:
            return None
        return _read_accessor(document, content, attributes[name], kind, FLOAT).astype(np.float32)

    vertices = read("POSITION", "VEC3")
    if vertices is None or len(vertices) == 0:
        raise _broken("it has no vertices")
    faces = _read_faces(document, content, primitives[0], len(vertices))
    normals, uvs = read("NORMAL", "VEC3"), read("TEXCOORD_0", "VEC2")
    colours = None
    if "COLOR_0" in attributes:
        colours = _read_accessor(document, content, attributes["COLOR_0"], "VEC4", UNSIGNED_BYTE)
    for name, array in (("normals", normals), ("uvs", uvs), ("colours", colours)):
        if array is not None and len(array) != len(vertices):
            raise _broken(f"it has {len(vertices)} vertices and {len(array)} {name}")
    texture, mime_type = _read_texture(document, content)
    return TexturedMesh(
        vertices=vertices,
        faces=faces,
        normals=normals,
        uvs=uvs,
        texture=texture,
        texture_mime_type=mime_type,
        colours=colours,
    )


def _read_faces(
    document: dict[str, Any], content: bytes, primitive: dict[str, Any], vertex_count: int
) -> npt.NDArray[np.int32]:
    if "indices" in primitive:
        indices = _read_accessor(document, content, primitive["indices"], "SCALAR", None).astype(np.int64)
    else:
        indices = np.arange(vertex_count, dtype=np.int64)
    if indices.size == 0 or indices.size % 3:
        raise _broken(f"{indices.size} indices are no triangles")
    if indices.min() < 0 or indices.max() >= vertex_count:
        raise _broken("a face names a vertex that does not exist")
    return indices.reshape(-1, 3).astype(np.int32)


def _read_view(document: dict[str, Any], content: bytes, index: int) -> bytes:
    if index < 0:
        raise _broken("a buffer view has a negative number")
    view = document["bufferViews"][index]
    start, length = int(view.get("byteOffset", 0)), int(view["byteLength"])
    if view["buffer"] != 0 or start < 0 or length < 0 or start + length > len(content):
        raise _broken("a buffer view lies outside the file")
    return content[start : start + length]


def _read_accessor(
    document: dict[str, Any], content: bytes, index: int, kind: str, component: int | None
) -> npt.NDArray[Any]:
    if index < 0:
        raise _broken("an accessor has a negative number")
    accessor = document["accessors"][index]
    found = accessor["componentType"]
    if accessor["type"] != kind or (component is not None and found != component) or "sparse" in accessor:
        raise _broken(f"an accessor is {accessor['type']} of {found}")
    count, offset = int(accessor["count"]), int(accessor.get("byteOffset", 0))
    view = _read_view(document, content, accessor["bufferView"])
    dtype = np.dtype(DTYPES[found])
    width = COMPONENTS[kind]
    if (
        document["bufferViews"][accessor["bufferView"]].get("byteStride", dtype.itemsize * width)
        != dtype.itemsize * width
    ):
        raise _broken("its arrays are interleaved")
    if count < 0 or offset < 0 or count > MAX_ELEMENTS or offset + count * width * dtype.itemsize > len(view):
        raise _broken("an accessor is longer than its data")
    array = np.frombuffer(view, dtype, count * width, offset)
    return array.reshape(count, width) if width > 1 else array


def _read_texture(document: dict[str, Any], content: bytes) -> tuple[bytes | None, str]:
    images = document.get("images", [])
    if not images:
        return None, "image/jpeg"
    if "bufferView" not in images[0]:
        raise _broken("its texture is outside the file")
    return _read_view(document, content, images[0]["bufferView"]), str(
        images[0].get("mimeType", "image/jpeg")
    )
