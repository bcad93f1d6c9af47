"""A cube as the bytes of a GLB, whole or damaged in the ways that models damage theirs."""

import itertools
import json
import struct

EMPTY_GLB_BYTES = 172
"""So long is the file that SF3D writes when it finds no surface."""
CORNERS = [(x, y, z) for x, y, z in itertools.product((-0.5, 0.5), repeat=3)]
FACES = [
    *((0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)),
    *((2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)),
]


def pack(document: dict, content: bytes = b"") -> bytes:
    """The container."""
    if content:
        document["buffers"] = [{"byteLength": len(content)}]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if content:
        chunks += struct.pack("<II", len(content), 0x004E4942) + content
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def cube(
    corners: list[tuple[float, float, float]] = CORNERS,
    *,
    colours: list[tuple[int, int, int, int]] | None = None,
    faces: list[tuple[int, int, int]] = FACES,
    material: bool = True,
) -> bytes:
    """Eight corners, twelve faces; with `colours` and without a material it is as trimesh writes one."""
    indices = struct.pack(f"<{len(faces) * 3}I", *itertools.chain(*faces))
    positions = struct.pack("<24f", *itertools.chain(*corners))
    content = indices + positions
    views = [
        {"buffer": 0, "byteOffset": 0, "byteLength": len(indices)},
        {"buffer": 0, "byteOffset": len(indices), "byteLength": len(positions)},
    ]
    accessors = [
        {"bufferView": 0, "componentType": 5125, "count": len(faces) * 3, "type": "SCALAR"},
        {
            "bufferView": 1,
            "componentType": 5126,
            "count": 8,
            "type": "VEC3",
            "min": [0, 0, 0],
            "max": [0, 0, 0],
        },
    ]
    primitive = {"attributes": {"POSITION": 1}, "indices": 0, "mode": 4}
    if colours is not None:
        views.append({"buffer": 0, "byteOffset": len(content), "byteLength": 32})
        accessors.append(
            {"bufferView": 2, "componentType": 5121, "count": 8, "type": "VEC4", "normalized": True}
        )
        primitive["attributes"]["COLOR_0"] = 2
        content += struct.pack("<32B", *itertools.chain(*colours))
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        # below a `world` node, as the trimesh that upstream pins writes it
        "nodes": [{"name": "world", "children": [1]}, {"name": "geometry_0", "mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "bufferViews": views,
        "accessors": accessors,
    }
    if material:
        primitive["material"] = 0
        document["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0.3, "roughnessFactor": 0.6}}]
    return pack(document, content)


def empty() -> bytes:
    """No mesh, 172 bytes."""
    document = {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "asset": {"version": "2.0"},
        "nodes": [{"name": "world"}],
    }
    text = len(json.dumps(document))
    document["asset"]["generator"] = "x" * (EMPTY_GLB_BYTES - 20 - text - len(', "generator": ""'))
    return pack(document)


def glb_for(fault: str) -> bytes:
    """The file that a program with this fault leaves behind."""
    nan = [(float("nan"), 0.0, 0.0), *CORNERS[1:]]
    files = {
        "empty_glb": empty(),
        "no_faces": cube(faces=[]),
        "nan_mesh": cube(nan),
        "wild_index": cube(faces=[(0, 1, 900)]),
        "truncated_glb": cube()[:-20],
        "not_glb": b"<html>proxy error</html>",
        "zero_bytes": b"",
    }
    return files.get(fault) or (b"" if fault == "zero_bytes" else cube())
