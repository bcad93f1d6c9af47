"""How the USD child and its parent talk: one JSON object, then blobs; reading executes nothing.

Standard library only: the child must start fast.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

HEAD = struct.Struct("<Q")


def pack_message(header: dict[str, Any], blobs: Sequence[bytes]) -> bytes:
    """Length of the JSON, the JSON with the blobs' sizes, the blobs."""
    text = json.dumps({"header": header, "sizes": [len(blob) for blob in blobs]}).encode()
    return b"".join((HEAD.pack(len(text)), text, *blobs))


def unpack_message(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Raises ValueError where the bytes are not one whole message."""
    if len(data) < HEAD.size:
        raise ValueError(f"{len(data)} bytes are no message")
    (length,) = HEAD.unpack_from(data)
    at = HEAD.size + length
    if at > len(data):
        raise ValueError("the message is cut off")
    document = json.loads(data[HEAD.size : at])
    blobs = []
    for size in document["sizes"]:
        if at + size > len(data):
            raise ValueError("a blob of the message is cut off")
        blobs.append(data[at : at + size])
        at += size
    return document["header"], blobs
