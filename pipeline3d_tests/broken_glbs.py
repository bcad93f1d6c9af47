"""A small clean GLB, and ways to break it at one place: what a check of files has to notice."""

from __future__ import annotations

import copy
import json
import struct

import numpy as np

from pipeline3d.geometry.glb import encode_glb, read_document
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d_tests.pictures import draw, encode

CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
FACES = np.array(
    [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
     (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)],
    np.int32,
)  # fmt: skip
PICTURE = encode(draw("apple", "plain", size=16).rgb, "JPEG")


def cube(**more) -> TexturedMesh:
    outwards = (CORNERS - 0.5) / np.linalg.norm(CORNERS - 0.5, axis=1, keepdims=True)
    parts = {"normals": outwards.astype(np.float32), "uvs": CORNERS[:, :2].copy(), "texture": PICTURE}
    return TexturedMesh(**({"vertices": CORNERS, "faces": FACES} | parts | more))


WHOLE = encode_glb(cube(), name="cube", extras={"extensions": {"ours": 1}})
DOCUMENT = read_document(WHOLE)
CONTENT = WHOLE[20 + struct.unpack_from("<I", WHOLE, 12)[0] + 8 :]


def packed(document: object, content: bytes = CONTENT) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    return (
        struct.pack("<III", 0x46546C67, 2, 28 + len(text) + len(content))
        + struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(content), 0x004E4942)
        + content
    )


def changed(**entries: object) -> bytes:
    """The cube with entries of its JSON set, named by their way with two underscores; ... removes."""
    document = copy.deepcopy(DOCUMENT)
    for path, value in entries.items():
        *way, last = [int(step) if step.isdigit() else step for step in path.split("__")]
        place = document
        for step in way:
            place = place[step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return packed(document)


def overwritten(accessor: int, element: int, value: float) -> bytes:
    """The cube with one number of an accessor's data replaced; -1 stands for the largest of its type."""
    described = DOCUMENT["accessors"][accessor]
    dtype = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}[described["componentType"]]
    start = DOCUMENT["bufferViews"][described["bufferView"]].get("byteOffset", 0)
    content = bytearray(CONTENT)
    numbers = np.frombuffer(content, dtype, element + 1, start)
    numbers[element] = np.iinfo(dtype).max if value == -1 and dtype != np.float32 else value
    return packed(DOCUMENT, bytes(content))


ATTRIBUTES = DOCUMENT["meshes"][0]["primitives"][0]["attributes"]
POSITION, NORMAL = ATTRIBUTES["POSITION"], ATTRIBUTES["NORMAL"]
INDICES = DOCUMENT["meshes"][0]["primitives"][0]["indices"]
IMAGE_VIEW = DOCUMENT["images"][0]["bufferView"]
