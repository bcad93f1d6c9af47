"""Binary glTF 2.0 with the standard library: write a mesh, mend a model's file, check what a model wrote.

Section numbers are those of the Khronos glTF 2.0 specification. Y up, front +Z, counter-clockwise faces.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import Any, Callable

from protocol import Failure

MAGIC, VERSION, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
UNSIGNED_BYTE, UNSIGNED_SHORT, UNSIGNED_INT, FLOAT, TRIANGLES = 5121, 5123, 5125, 5126, 4
TYPE_CODES = {UNSIGNED_BYTE: "B", UNSIGNED_SHORT: "H", UNSIGNED_INT: "I", FLOAT: "f"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
ROUGHNESS = 0.9
IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
MAX_FILE_BYTES = 1 << 30
"""Larger files are no model of ours; they are refused before they are read into memory."""


def linear_from_srgb(value: float) -> float:
    """IEC 61966-2-1, both 0 to 1: vertex colours of glTF are linear (3.7.2.1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


LINEAR_BYTES = bytes(round(linear_from_srgb(value / 255) * 255) for value in range(256))


@dataclass
class Mesh:
    """A triangle mesh of flat arrays: positions, normals 'f' 3 a vertex; uvs 'f' 2, (0,0) upper left; colours
    linear RGBA 'B' 4; indices 'I' 3 a face. `texture` is an encoded JPEG or PNG."""

    positions: array[float]
    indices: array[int]
    normals: array[float] | None = None
    uvs: array[float] | None = None
    colours: array[int] | None = None
    texture: bytes | None = None


class _Binary:
    """The binary chunk as it grows, with its views and accessors."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        self.content.extend(b"\0" * (-len(self.content) % 4))
        view = {"buffer": 0, "byteOffset": len(self.content), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.content.extend(data)
        self.views.append(view)
        return len(self.views) - 1

    def array(self, values: array[Any], kind: str, component: int, **more: Any) -> int:
        target = ELEMENT_ARRAY_BUFFER if kind == "SCALAR" else ARRAY_BUFFER
        entry = {"bufferView": self.view(little_endian(values), target), "componentType": component}
        self.accessors.append(dict(entry, type=kind, count=len(values) // WIDTHS[kind], **more))
        return len(self.accessors) - 1


def little_endian(values: array[Any]) -> bytes:
    """The bytes of an array as glTF wants them (3.6.2.2)."""
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()


def bounds(positions: array[float]) -> dict[str, list[float]]:
    """Smallest and largest of each coordinate, as the POSITION accessor has to tell (3.7.2.1)."""
    axes = [positions[axis::3] for axis in range(3)]
    return {"min": [min(axis) for axis in axes], "max": [max(axis) for axis in axes]}


def plain_material() -> dict[str, Any]:
    """Matt and explicit: without metallicFactor a viewer takes 1 and renders the object dark (5.22.4)."""
    return {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}


def encode(mesh: Mesh, name: str, extras: dict[str, Any] | None = None) -> bytes:
    """The mesh as one GLB file; equal meshes give equal bytes."""
    binary = _Binary()
    attributes = {"POSITION": binary.array(mesh.positions, "VEC3", FLOAT, **bounds(mesh.positions))}
    if mesh.normals is not None:
        attributes["NORMAL"] = binary.array(mesh.normals, "VEC3", FLOAT)
    if mesh.uvs is not None:
        attributes["TEXCOORD_0"] = binary.array(mesh.uvs, "VEC2", FLOAT)
    if mesh.colours is not None:
        attributes["COLOR_0"] = binary.array(mesh.colours, "VEC4", UNSIGNED_BYTE, normalized=True)
    indices = binary.array(mesh.indices, "SCALAR", UNSIGNED_INT)
    material = plain_material()
    document: dict[str, Any] = {
        "asset": dict(
            {"version": "2.0", "generator": "Pipeline3D"}, **({"extras": extras} if extras else {})
        ),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "meshes": [
            {
                "name": name,
                "primitives": [
                    {"attributes": attributes, "indices": indices, "material": 0, "mode": TRIANGLES}
                ],
            }
        ],
        "materials": [{"name": name, "pbrMetallicRoughness": material}],
    }
    if mesh.texture is not None:
        mime_type = "image/png" if mesh.texture.startswith(b"\x89PNG") else "image/jpeg"
        material["baseColorTexture"] = {"index": 0}
        document["images"] = [{"bufferView": binary.view(mesh.texture), "mimeType": mime_type}]
        document["textures"] = [{"source": 0}]
    document["accessors"], document["bufferViews"] = binary.accessors, binary.views
    return pack(document, binary.content)


def pack(document: dict[str, Any], content: bytes | bytearray) -> bytes:
    """The container (4.4): header, JSON chunk, binary chunk, each a multiple of four bytes."""
    content = bytes(content) + b"\0" * (-len(content) % 4)
    document = dict(document, buffers=[{"byteLength": len(content)}])
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<III", MAGIC, VERSION, 28 + len(text) + len(content))
    parts = (head, struct.pack("<II", len(text), JSON_CHUNK), text)
    return b"".join((*parts, struct.pack("<II", len(content), BINARY_CHUNK), content))


def unpack(data: bytes) -> tuple[dict[str, Any], bytearray]:
    """JSON and binary chunk of a GLB. Raises Failure(broken_output)."""
    if len(data) < 20:
        raise _broken(f"{len(data)} bytes are too few")
    magic, version, total = struct.unpack_from("<III", data)
    if magic != MAGIC or version != VERSION:
        raise _broken("it is not binary glTF 2.0")
    if total != len(data):
        raise _broken(f"it says {total} bytes and has {len(data)}: it was cut short or written over")
    chunks: dict[int, bytes] = {}
    at = 12
    while at + 8 <= total:
        length, kind = struct.unpack_from("<II", data, at)
        if at + 8 + length > total:
            raise _broken("a chunk is longer than the file")
        chunks.setdefault(kind, data[at + 8 : at + 8 + length])
        at += 8 + length
    try:
        document = json.loads(chunks.get(JSON_CHUNK, b"").decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _broken("its JSON is damaged") from error
    if not isinstance(document, dict):
        raise _broken("its JSON is no object")
    return document, bytearray(chunks.get(BINARY_CHUNK, b""))


def _broken(reason: str) -> Failure:
    return Failure("broken_output", f"The model wrote a GLB that cannot be used: {reason}.")


def check_file(path: str) -> dict[str, int]:
    """Vertices and faces of a GLB that holds something visible.

    Raises Failure: empty_output without faces (SF3D writes such a file of 172 bytes and exits with 0),
    broken_output where the file lies about its lengths or a position is not finite.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Failure("empty_output", f"The model's file cannot be read: {error}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise _broken(f"it is larger than {MAX_FILE_BYTES} bytes")
    return check(data)


def check(data: bytes) -> dict[str, int]:
    """As `check_file`, of the bytes."""
    document, content = unpack(data)
    try:
        vertices, faces = _count(document, content)
    except Failure:
        raise
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        struct.error,
    ) as error:
        raise _broken(f"its description does not fit its content ({type(error).__name__})") from error
    if faces == 0:
        raise Failure(
            "empty_output",
            f"The model found no surface: its file of {len(data)} bytes has no faces.",
            "Send a photo with one clear object, or cut its background out beforehand.",
        )
    return {"vertices": vertices, "faces": faces}


def _count(document: dict[str, Any], content: bytearray) -> tuple[int, int]:
    vertices = faces = 0
    for primitive in primitives(document):
        positions = read_array(document, content, primitive["attributes"]["POSITION"])
        count = len(positions) // 3
        if not all(map(math.isfinite, positions)):
            raise _broken("positions are not finite")
        if "indices" in primitive:
            indices = read_array(document, content, primitive["indices"])
            if len(indices) and max(indices) >= count:
                raise _broken("a face names a vertex that does not exist")
            faces += len(indices) // 3
        else:
            faces += count // 3
        vertices += count
    return vertices, faces


def primitives(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every primitive of triangles."""
    found = [primitive for mesh in document.get("meshes", []) for primitive in mesh["primitives"]]
    return [primitive for primitive in found if primitive.get("mode", TRIANGLES) == TRIANGLES]


def read_array(document: dict[str, Any], content: bytearray, index: int) -> array[Any]:
    """The values of an accessor. Raises Failure where it reaches outside the file."""
    accessor, start, size = _place(document, content, index)
    values = array(TYPE_CODES[accessor["componentType"]])
    values.frombytes(bytes(content[start : start + size]))
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _place(document: dict[str, Any], content: bytearray, index: int) -> tuple[dict[str, Any], int, int]:
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    item = array(TYPE_CODES[accessor["componentType"]]).itemsize * WIDTHS[accessor["type"]]
    start = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    size = int(accessor["count"]) * item
    if "sparse" in accessor or view.get("byteStride", item) != item:
        raise _broken("its arrays are sparse or interleaved")
    if index < 0 or size < 0 or start < 0 or start + size > len(content):
        raise _broken("an array lies outside the file")
    return accessor, start, size


def mend(data: bytes, turn: Callable[[array[float]], array[float]] | None, *, srgb_colours: bool) -> bytes:
    """A model's GLB with one plain node, its vertices turned, and a matt material where it has none.

    `turn` maps a flat xyz array to another; with `srgb_colours` vertex colours become linear. Raises Failure.
    """
    document, content = unpack(data)
    try:
        _mend(document, content, turn, srgb_colours)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _broken(f"its description does not fit its content ({type(error).__name__})") from error
    return pack(document, content)


def _mend(
    document: dict[str, Any],
    content: bytearray,
    turn: Callable[[array[float]], array[float]] | None,
    srgb_colours: bool,
) -> None:
    done: set[int] = set()
    for primitive in primitives(document):
        attributes = primitive["attributes"]
        for name in ("POSITION", "NORMAL"):
            if turn is not None and name in attributes and attributes[name] not in done:
                done.add(attributes[name])
                _turn(document, content, attributes[name], turn)
        if srgb_colours and "COLOR_0" in attributes and attributes["COLOR_0"] not in done:
            done.add(attributes["COLOR_0"])
            _make_linear(document, content, attributes["COLOR_0"])
        if "material" not in primitive:
            materials = document.setdefault("materials", [])
            materials.append({"pbrMetallicRoughness": plain_material()})
            primitive["material"] = len(materials) - 1
    for material in document.get("materials", []):
        values = material.setdefault("pbrMetallicRoughness", {})
        if "metallicRoughnessTexture" not in values:
            values.setdefault("metallicFactor", 0.0)
            values.setdefault("roughnessFactor", ROUGHNESS)
    _flatten(document)


def _turn(
    document: dict[str, Any], content: bytearray, index: int, turn: Callable[[array[float]], array[float]]
) -> None:
    accessor, start, size = _place(document, content, index)
    values = turn(read_array(document, content, index))
    content[start : start + size] = little_endian(values)
    if "min" in accessor and len(values):
        accessor.update(bounds(values))


def _flatten(document: dict[str, Any]) -> None:
    """One node for one mesh: older trimesh puts it below a `world` node, which says nothing."""
    nodes = document.get("nodes", [])
    holders = [node for node in nodes if "mesh" in node]
    moved = {"translation", "rotation", "scale", "skin"}
    plain = all(node.get("matrix", IDENTITY) == IDENTITY and not moved & set(node) for node in nodes)
    if plain and len(holders) == 1:
        document["nodes"] = [{key: holders[0][key] for key in ("mesh", "name") if key in holders[0]}]
        document["scenes"], document["scene"] = [{"nodes": [0]}], 0


def _make_linear(document: dict[str, Any], content: bytearray, index: int) -> None:
    accessor, start, size = _place(document, content, index)
    if accessor["componentType"] != UNSIGNED_BYTE:
        return  # floats are linear already where a program writes them at all
    width = WIDTHS[accessor["type"]]
    for channel in range(3):
        place = slice(start + channel, start + size, width)
        content[place] = content[place].translate(LINEAR_BYTES)
