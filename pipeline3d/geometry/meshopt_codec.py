"""EXT_meshopt_compression: arrays to its bitstreams and back, by meshoptimizer.

The bindings take keywords only here: positional arguments are misread and can crash the process. They also
trust the lengths that they are told, so every count and stride is checked before they are called.
Khronos, EXT_meshopt_compression; the bitstreams are "vertex" version 0 and "index" version 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.refusals import broken

EXTENSION = "EXT_meshopt_compression"
READABLE = (EXTENSION, "KHR_meshopt_compression")
"""The newer one names the same streams, and vertex streams of version 1 besides."""
Bytes = bytes | memoryview
Rows = npt.NDArray[Any]
Indices = npt.NDArray[np.uint32]

VERTEX_STREAMS, INDEX_STREAMS, SEQUENCE_STREAMS = (0xA0, 0xA1), (0xE1,), (0xD1,)
"""First bytes of the streams that the extensions allow."""
MOST_STRIDE = 256
OVERDRAW_THRESHOLD = 1.05
"""The vertex cache may get 5 % worse for less overdraw, as meshoptimizer recommends."""
UNUSED = 0xFFFF_FFFF


def encode_rows(rows: Rows) -> bytes:
    """Rows (n,k), whose bytes are a multiple of four, as a stream of mode ATTRIBUTES."""
    import meshoptimizer

    rows = np.ascontiguousarray(rows)
    size = rows.itemsize * rows.shape[1]
    if size % 4 or not 0 < size <= MOST_STRIDE:
        raise ValueError(f"rows of {size} bytes cannot be encoded")
    encoded: bytes = meshoptimizer.encode_vertex_buffer(
        vertices=rows, vertex_count=len(rows), vertex_size=size
    )
    return encoded


def encode_triangles(indices: Indices, vertex_count: int) -> bytes:
    """Indices (3m,) as a stream of mode TRIANGLES. The corners of a triangle may rotate."""
    import meshoptimizer

    indices = np.ascontiguousarray(indices, np.uint32)
    encoded: bytes = meshoptimizer.encode_index_buffer(
        indices=indices, index_count=len(indices), vertex_count=vertex_count
    )
    return encoded


def weld(rows: Rows, indices: Indices) -> tuple[Indices, Indices]:
    """Vertices whose rows (n,k) are equal byte for byte become one.

    Returns the new indices (3m,) and, for each vertex that is left, the row it is made of.
    """
    import meshoptimizer

    rows = np.ascontiguousarray(rows)
    remap = np.empty(len(rows), np.uint32)
    count = meshoptimizer.generate_vertex_remap(
        destination=remap,
        indices=np.ascontiguousarray(indices, np.uint32),
        index_count=len(indices),
        vertices=rows,
        vertex_count=len(rows),
        vertex_size=rows.itemsize * rows.shape[1],
    )
    return remap[indices], _invert(remap, count)


def order_for_drawing(indices: Indices, positions: npt.NDArray[np.float32]) -> tuple[Indices, Indices]:
    """Triangles in the order that the vertex cache likes, outer ones first; vertices in the order of use.

    `positions` (n,3). Returns the new indices (3m,) and, for each new vertex, its old number; vertices that
    no triangle uses are gone.
    """
    import meshoptimizer

    indices = np.ascontiguousarray(indices, np.uint32)
    positions = np.ascontiguousarray(positions, np.float32)
    cached, drawn = np.empty_like(indices), np.empty_like(indices)
    meshoptimizer.optimize_vertex_cache(
        destination=cached, indices=indices, index_count=len(indices), vertex_count=len(positions)
    )
    meshoptimizer.optimize_overdraw(
        destination=drawn,
        indices=cached,
        vertex_positions=positions,
        index_count=len(indices),
        vertex_count=len(positions),
        vertex_positions_stride=12,
        threshold=OVERDRAW_THRESHOLD,
    )
    remap = np.empty(len(positions), np.uint32)
    count = meshoptimizer.optimize_vertex_fetch_remap(
        destination=remap, indices=drawn, index_count=len(drawn), vertex_count=len(positions)
    )
    return remap[drawn], _invert(remap, count)


def _invert(remap: Indices, count: int) -> Indices:
    """For each new number, the first old one that it stands for."""
    old = np.empty(count, np.uint32)
    used = np.flatnonzero(remap != UNUSED)[::-1]
    old[remap[used]] = used
    return old


def encode_octahedral(directions: npt.NDArray[Any], bits: int) -> Rows:
    """Unit vectors (n,3) as rows for the filter OCTAHEDRAL: (n,4) int8, or int16 for more than 8 bits.

    As meshoptimizer's `meshopt_encodeFilterOct`, which the bindings lack.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"{bits} bits cannot hold a direction")
    vectors = directions.astype(np.float64)
    vectors /= np.maximum(np.abs(vectors).sum(axis=1, keepdims=True), 1e-30)
    x, y, z = vectors.T
    lower = z < 0
    u = np.where(lower, (1 - np.abs(y)) * np.where(x >= 0, 1, -1), x)
    v = np.where(lower, (1 - np.abs(x)) * np.where(y >= 0, 1, -1), y)
    one = 2 ** (bits - 1) - 1
    rows = np.zeros((len(vectors), 4), np.int8 if bits <= 8 else np.int16)
    rows[:, 0], rows[:, 1], rows[:, 2] = np.round(u * one), np.round(v * one), one
    return rows


def decode_view(extension: dict[str, Any], content: Bytes) -> bytes:
    """The plain bytes of a compressed buffer view, `count` × `byteStride` of them.

    `content` is what the extension's own buffer, offset and length name; the caller bounds the sum of all
    views.
    Raises UnusableInput `broken_model_file`.
    """
    mode, kind = extension.get("mode"), extension.get("filter", "NONE")
    count, stride = extension.get("count"), extension.get("byteStride")
    if not isinstance(count, int) or not isinstance(stride, int) or count < 0:
        raise broken("a compressed buffer view has no count or stride")
    if count == 0:
        return b""
    try:
        if mode == "ATTRIBUTES":
            return _decode_rows(content, count, stride, kind)
        if kind != "NONE":
            raise broken(f"compressed indices have the filter {kind!r}")
        if mode in ("TRIANGLES", "INDICES"):
            return _decode_indices(content, count, stride, triangles=mode == "TRIANGLES")
    except (RuntimeError, ValueError) as error:
        raise broken(f"a compressed buffer view cannot be decoded ({error})") from error
    raise broken(f"a buffer view is compressed in the unknown mode {mode!r}")


def _decode_rows(content: Bytes, count: int, stride: int, kind: str) -> bytes:
    import meshoptimizer

    allowed = {"NONE": stride % 4 == 0, "OCTAHEDRAL": stride in (4, 8), "QUATERNION": stride == 8}
    allowed["EXPONENTIAL"] = stride % 4 == 0
    if not 0 < stride <= MOST_STRIDE or not allowed.get(kind, False):
        raise broken(f"a compressed buffer view has rows of {stride} bytes and the filter {kind!r}")
    _expect(content, VERTEX_STREAMS)
    rows: Rows = meshoptimizer.decode_vertex_buffer(
        vertex_count=count, vertex_size=stride, buffer=content, dtype=np.dtype((np.void, stride))
    )
    undo = {
        "OCTAHEDRAL": meshoptimizer.decode_filter_oct,
        "QUATERNION": meshoptimizer.decode_filter_quat,
        "EXPONENTIAL": meshoptimizer.decode_filter_exp,
    }.get(kind)
    return (undo(buffer=rows, count=count, stride=stride) if undo else rows).tobytes()


def _decode_indices(content: Bytes, count: int, stride: int, *, triangles: bool) -> bytes:
    import meshoptimizer

    if stride not in (2, 4) or (triangles and count % 3):
        raise broken(f"{count} compressed indices of {stride} bytes cannot be")
    _expect(content, INDEX_STREAMS if triangles else SEQUENCE_STREAMS)
    decode = meshoptimizer.decode_index_buffer if triangles else meshoptimizer.decode_index_sequence
    # The bindings return four bytes each: told of two, they would fill half of their array.
    indices: Indices = decode(index_count=count, index_size=4, buffer=content)
    if stride == 4:
        return indices.tobytes()
    if int(indices.max()) > np.iinfo(np.uint16).max:
        raise broken("a compressed index does not fit into its two bytes")
    return indices.astype(np.uint16).tobytes()


def _expect(content: Bytes, first: tuple[int, ...]) -> None:
    """The bitstream's kind and version."""
    if len(content) == 0 or content[0] not in first:
        raise broken("a compressed buffer view is no stream of its mode")
