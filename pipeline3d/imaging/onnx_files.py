"""Whether a file can be an ONNX model, found out from a few bytes of it.

Invariant: only the heads of the outermost fields are read, however large the file is; nothing is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from pipeline3d.errors import ModelNotReady

GRAPH, OPERATORS = 7, 8
"""Fields of onnx.proto's ModelProto without which there is no model; writers put them in this order."""

VARINT, EIGHT_BYTES, WITH_LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""Wire types of protocol buffers."""

MOST_FIELDS = 100_000
"""A model has about ten, and one for each of its functions and notes."""


def check_onnx_file(path: Path) -> None:
    """Raises `ModelNotReady` (`weights_invalid`) for a file that is cut short or something else."""
    try:
        with path.open("rb") as file:
            fields = _walk(file, os.fstat(file.fileno()).st_size)
    except OSError as failure:
        raise _invalid(path, f"it cannot be read ({failure.strerror})") from failure
    except ValueError as failure:
        raise _invalid(path, str(failure)) from failure
    if not {GRAPH, OPERATORS} <= fields:
        raise _invalid(path, "it holds no network, or ends before it is complete")


def _walk(file: BinaryIO, size: int) -> set[int]:
    """The numbers of the outermost fields. Raises `ValueError` where they do not end with the file."""
    if size == 0:
        raise ValueError("it is empty")
    fields: set[int] = set()
    for _ in range(MOST_FIELDS):
        if file.tell() == size:
            return fields
        tag = _read_varint(file)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            _read_varint(file)
        elif wire_type == WITH_LENGTH:
            file.seek(_read_varint(file), os.SEEK_CUR)
        elif wire_type in (EIGHT_BYTES, FOUR_BYTES):
            file.seek(8 if wire_type == EIGHT_BYTES else 4, os.SEEK_CUR)
        else:
            raise ValueError("it is not an ONNX file")
        if file.tell() > size:
            raise ValueError("it is cut short, or not an ONNX file")
        fields.add(number)
    raise ValueError("it is not an ONNX file")


def _read_varint(file: BinaryIO) -> int:
    value = 0
    for place in range(10):
        byte = file.read(1)
        if not byte:
            raise ValueError("it is cut short, or not an ONNX file")
        value |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            return value
    raise ValueError("it is not an ONNX file")


def _invalid(path: Path, reason: str) -> ModelNotReady:
    return ModelNotReady(
        f"{path} is not a model: {reason}.",
        code="weights_invalid",
        hint=f"Download {path.name} again: downloads break off, and some addresses answer with a page.",
        details={"path": str(path)},
    )
