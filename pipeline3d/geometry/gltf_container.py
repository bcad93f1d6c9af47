"""The binary container of glTF 2.0 (Khronos specification, section 4.4), and the format's numbers.

A GLB is a header, a chunk of JSON and a chunk of binary content. What lies about its lengths is
`UnusableInput` `broken_model_file`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pipeline3d.geometry.refusals import broken

Bytes = bytes | memoryview

MAGIC, VERSION = 0x46546C67, 2
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
HEADER_BYTES, CHUNK_HEADER_BYTES = 12, 8
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
BYTE, UNSIGNED_BYTE, SHORT, UNSIGNED_SHORT, UNSIGNED_INT, FLOAT = 5120, 5121, 5122, 5123, 5125, 5126
TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN = 4, 5, 6
LINEAR, LINEAR_MIPMAP_LINEAR = 9729, 9987
CLAMP_TO_EDGE, MIRRORED_REPEAT, REPEAT = 33071, 33648, 10497
WRAPS: Final = {"clamp": CLAMP_TO_EDGE, "mirror": MIRRORED_REPEAT, "repeat": REPEAT}
DTYPES: Final[dict[int, Any]] = {
    BYTE: np.dtype("i1"),
    UNSIGNED_BYTE: np.dtype("u1"),
    SHORT: np.dtype("<i2"),
    UNSIGNED_SHORT: np.dtype("<u2"),
    UNSIGNED_INT: np.dtype("<u4"),
    FLOAT: np.dtype("<f4"),
}
WEBP, EMISSIVE_STRENGTH = "EXT_texture_webp", "KHR_materials_emissive_strength"


def pack(document: dict[str, Any], chunks: Sequence[Bytes]) -> bytes:
    """A GLB of this JSON and these pieces of binary content; equal arguments give equal bytes.

    Raises ValueError for JSON that holds NaN or infinity.
    """
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    length = sum(len(chunk) for chunk in chunks)
    padding = b"\0" * (-length % 4)
    length += len(padding)
    total = HEADER_BYTES + CHUNK_HEADER_BYTES + len(text) + (CHUNK_HEADER_BYTES + length if length else 0)
    head = struct.pack("<III", MAGIC, VERSION, total) + struct.pack("<II", len(text), JSON_CHUNK) + text
    if not length:
        return head
    return b"".join((head, struct.pack("<II", length, BINARY_CHUNK), *chunks, padding))


def unpack(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """A GLB's JSON and its binary content (not copied). Raises UnusableInput `broken_model_file`."""
    if len(data) < HEADER_BYTES + CHUNK_HEADER_BYTES:
        raise broken(f"{len(data)} bytes are too few")
    magic, version, total = struct.unpack_from("<III", data)
    if magic != MAGIC or version != VERSION:
        raise broken("it is not binary glTF 2.0")
    if total != len(data):
        raise broken(f"it says {total:,} bytes and has {len(data):,}")
    chunks: dict[int, memoryview] = {}
    at, whole = HEADER_BYTES, memoryview(data)
    while at + CHUNK_HEADER_BYTES <= len(data):
        length, kind = struct.unpack_from("<II", data, at)
        at += CHUNK_HEADER_BYTES
        if at + length > len(data):
            raise broken("a chunk is longer than the file")
        chunks.setdefault(kind, whole[at : at + length])
        at += length
    return parse_document(bytes(chunks.get(JSON_CHUNK, b""))), chunks.get(BINARY_CHUNK, memoryview(b""))


def parse_document(text: bytes) -> dict[str, Any]:
    """The JSON of a glTF file. Raises UnusableInput `broken_model_file`."""
    try:
        document = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise broken("its JSON is damaged") from error
    if not isinstance(document, dict):
        raise broken("its JSON is no object")
    return document


def entry_of(document: dict[str, Any], kind: str, index: object) -> dict[str, Any]:
    """The entry of one of the document's lists by its number. Raises UnusableInput `broken_model_file`."""
    entries = document.get(kind, [])
    if not isinstance(index, int) or not 0 <= index < len(entries):
        raise broken(f"there is no entry {index!r} in its {kind}")
    entry: dict[str, Any] = entries[index]
    return entry


def _no_number(word: str) -> float:
    raise ValueError(word)
