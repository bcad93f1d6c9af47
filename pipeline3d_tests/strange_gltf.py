"""glTF documents built by hand, the way other exporters write them, and ways to make them hostile."""

from __future__ import annotations

import base64
import copy
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
SQUARE = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], np.float32)
SQUARE_FACES = np.array([0, 1, 2, 0, 2, 3], np.uint16)
SQUARE_UVS = np.array([(0, 1), (1, 1), (1, 0), (0, 0)], np.float32)


def picture(kind: str = "PNG", size: int = 4, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, kind)
    return buffer.getvalue()


def huge_png(side: int) -> bytes:
    """A whole PNG of this size, black, one bit a pixel: a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = b"\0" * (1 + -(-side // 8))
    body = b"".join([*(packer.compress(row * 256) for _ in range(side // 256)), packer.flush()])
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


class Strange:
    """A document under construction: a square, unless told otherwise."""

    def __init__(self) -> None:
        self.content = b""
        self.document: dict = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": []}],
            "accessors": [],
            "bufferViews": [],
        }

    def view(self, data: bytes, **more) -> int:
        self.content += b"\0" * (-len(self.content) % 4)
        at = len(self.content)
        self.content += data
        self.document["bufferViews"].append({"buffer": 0, "byteOffset": at, "byteLength": len(data)} | more)
        return len(self.document["bufferViews"]) - 1

    def array(self, values: np.ndarray, *, view_more: dict | None = None, **more) -> int:
        view = self.view(values.tobytes(), **(view_more or {}))
        width = 1 if values.ndim == 1 else values.shape[1]
        self.document["accessors"].append(
            {
                "bufferView": view,
                "componentType": COMPONENTS[values.dtype.str[1:]],
                "count": len(values),
                "type": KINDS[width],
            }
            | more
        )
        return len(self.document["accessors"]) - 1

    def square(self, **more) -> Strange:
        """Add the square as a primitive; `more` goes into the primitive."""
        attributes = {"POSITION": self.array(SQUARE), "TEXCOORD_0": self.array(SQUARE_UVS)}
        primitive = {"attributes": attributes, "indices": self.array(SQUARE_FACES)} | more
        self.document["meshes"][0]["primitives"].append(primitive)
        return self

    def textured(self, data: bytes | None = None, **texture_info) -> Strange:
        """The square with a base colour picture."""
        view = self.view(picture() if data is None else data)
        self.document |= {
            "images": [{"bufferView": view, "mimeType": "image/png"}],
            "textures": [{"source": 0}],
            "materials": [
                {"name": "skin", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0} | texture_info}}
            ],
        }
        return self.square(material=0)

    def changed(self, path: str, value: object) -> Strange:
        """A copy with one entry set to something else, or removed where the value is ..."""
        other = copy.deepcopy(self)
        *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
        place = other.document
        for step in way:
            place = place[step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
        return other

    def glb(self) -> bytes:
        document = self.document | {"buffers": [{"byteLength": len(self.content)}]}
        if "buffers" in self.document:
            document = self.document
        return packed(document, self.content)

    def gltf(self) -> bytes:
        uri = "data:application/octet-stream;base64," + base64.b64encode(self.content).decode()
        return json.dumps(
            self.document | {"buffers": [{"byteLength": len(self.content), "uri": uri}]}
        ).encode()


def packed(document: object, content: bytes) -> bytes:
    """A GLB of this JSON and this content, however wrong they are."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    content += b"\0" * (-len(content) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if content:
        chunks += struct.pack("<II", len(content), 0x4E4942) + content
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
