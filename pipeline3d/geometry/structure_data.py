"""Whether the numbers in a GLB's binary chunk are what its JSON says (glTF 2.0, sections 3.6 and 3.7).

Codes are those of the Khronos validator where it has one for the same. Compressed buffer views (meshopt,
Draco) are not decoded; that they were not looked into is itself a complaint of severity `info`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.complaints import Complaints, object_of, objects_of, whole

DTYPES: dict[int, Any] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
FLOAT = 5126
INDEX_TYPES = (5121, 5123, 5125)
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
UNIT_TOLERANCE = 0.00674
"""The Khronos validator's: what remains of a unit vector after 8 bits for each component."""
WORD = 4
STRIDES = range(4, 253)
TRIANGLES = 4
ATTRIBUTE_TYPES = {
    "POSITION": ("VEC3",),
    "NORMAL": ("VEC3",),
    "TANGENT": ("VEC4",),
    "TEXCOORD": ("VEC2",),
    "COLOR": ("VEC3", "VEC4"),
    "JOINTS": ("VEC4",),
    "WEIGHTS": ("VEC4",),
}
MESHOPT_EXTENSIONS = ("EXT_meshopt_compression", "KHR_meshopt_compression")
DRACO = "KHR_draco_mesh_compression"
QUANTIZATION = "KHR_mesh_quantization"

Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A buffer view's bytes in the binary chunk, and the step between its elements (0: as they come)."""

    start: int
    length: int
    stride: int


@dataclass(frozen=True, slots=True)
class AccessorData:
    """One accessor: its values (n, width), or None where they are compressed or broken."""

    values: Values | None
    kind: str
    component: int
    count: int
    normalized: bool = False
    bounded: bool = True


def check_data(document: dict[str, Any], content: bytes, complaints: Complaints) -> list[Span | None]:
    """All buffer views, accessors and primitives; returns where each buffer view lies."""
    spans = _check_views(document, len(content), complaints)
    accessors = [
        _check_accessor(accessor, number, spans, document, content, complaints)
        for number, accessor in enumerate(objects_of(document, "accessors", "", Complaints()))
    ]
    used = document.get("extensionsUsed")
    quantized = isinstance(used, list) and QUANTIZATION in used
    judged: set[tuple[str, int]] = set()
    for number, mesh in enumerate(objects_of(document, "meshes", "", Complaints())):
        for part, primitive in enumerate(objects_of(mesh, "primitives", f"/meshes/{number}", Complaints())):
            pointer = f"/meshes/{number}/primitives/{part}"
            _check_primitive(primitive, pointer, accessors, quantized, judged, complaints)
            packed = object_of(primitive, "extensions").get(DRACO)
            if packed is not None:
                packed = packed if isinstance(packed, dict) else {}
                _check_draco(packed, f"{pointer}/extensions/{DRACO}", spans, complaints)
    return spans


def _check_views(document: dict[str, Any], size: int, complaints: Complaints) -> list[Span | None]:
    buffers = objects_of(document, "buffers", "", complaints)
    spans: list[Span | None] = []
    for number, view in enumerate(objects_of(document, "bufferViews", "", complaints)):
        pointer = f"/bufferViews/{number}"
        buffer, length = whole(view.get("buffer")), whole(view.get("byteLength"))
        start, stride = whole(view.get("byteOffset", 0)), whole(view.get("byteStride", 0))
        spans.append(None)
        if buffer is None or length is None or start is None or stride is None:
            complaints.error("TYPE_MISMATCH", pointer, "buffer, byteOffset, byteLength and byteStride count")
            continue
        if buffer >= len(buffers):
            complaints.error("UNRESOLVED_REFERENCE", f"{pointer}/buffer", f"there is no buffer {buffer}")
            continue
        if length == 0:
            complaints.error("VALUE_NOT_IN_RANGE", f"{pointer}/byteLength", "a buffer view is never empty")
            continue
        if "byteStride" in view and (stride not in STRIDES or stride % WORD):
            complaints.error("VALUE_NOT_IN_RANGE", f"{pointer}/byteStride", f"{stride} is no stride")
            continue
        extensions = object_of(view, "extensions")
        packed = next(
            (object_of(extensions, name) for name in MESHOPT_EXTENSIONS if name in extensions), None
        )
        if packed is not None:
            _check_packed_view(packed, pointer, size, complaints)
            continue
        declared = whole(buffers[buffer].get("byteLength")) or 0
        if buffer != 0 or start + length > min(size, declared):
            complaints.error("BUFFER_VIEW_TOO_LONG", pointer, f"{start} + {length} lies outside the buffer")
            continue
        spans[-1] = Span(start, length, stride)
    _check_overlaps(spans, complaints)
    return spans


def _check_packed_view(packed: dict[str, Any], pointer: str, size: int, complaints: Complaints) -> None:
    start, length = whole(packed.get("byteOffset", 0)), whole(packed.get("byteLength"))
    if start is None or length is None or packed.get("buffer") != 0 or start + length > size:
        complaints.error("BUFFER_VIEW_TOO_LONG", pointer, "its compressed bytes lie outside the buffer")
    else:
        complaints.info("COMPRESSED_NOT_DECODED", pointer, "compressed: its values were not looked into")


def _check_overlaps(spans: list[Span | None], complaints: Complaints) -> None:
    placed = sorted((span.start, span.length, number) for number, span in enumerate(spans) if span)
    end, before = 0, -1
    for start, length, number in placed:
        if start < end:
            complaints.warning(
                "BUFFER_VIEWS_OVERLAP", f"/bufferViews/{number}", f"shares bytes with {before}"
            )
        if start + length > end:
            end, before = start + length, number


def _check_accessor(
    accessor: dict[str, Any],
    number: int,
    spans: list[Span | None],
    document: dict[str, Any],
    content: bytes,
    complaints: Complaints,
) -> AccessorData:
    pointer = f"/accessors/{number}"
    kind, component = accessor.get("type"), accessor.get("componentType")
    count, offset = whole(accessor.get("count")), whole(accessor.get("byteOffset", 0))
    nothing = AccessorData(None, str(kind), component if isinstance(component, int) else 0, count or 0)
    if not isinstance(kind, str) or kind not in WIDTHS or not count or offset is None:
        complaints.error("VALUE_NOT_IN_LIST", pointer, f"{count} elements of type {kind!r} at {offset}")
        return nothing
    if not isinstance(component, int) or component not in DTYPES:
        complaints.error("VALUE_NOT_IN_LIST", f"{pointer}/componentType", f"{component!r} is no type")
        return nothing
    if "sparse" in accessor:
        complaints.info("SPARSE_NOT_CHECKED", pointer, "sparse: its values were not looked into")
        return nothing
    view = accessor.get("bufferView")
    if view is None:
        used = document.get("extensionsUsed")
        if not (isinstance(used, list) and DRACO in used):
            complaints.warning("ACCESSOR_WITHOUT_DATA", pointer, "no buffer view: all its values are zero")
        return nothing
    if whole(view) is None or view >= len(spans):
        complaints.error("UNRESOLVED_REFERENCE", f"{pointer}/bufferView", f"there is no buffer view {view!r}")
        return nothing
    span = spans[view]
    if span is None:
        return nothing
    values = _read(accessor, pointer, span, content, complaints)
    if values is None:
        return nothing
    if component == FLOAT and not np.isfinite(values).all():
        complaints.error("ACCESSOR_INVALID_FLOAT", pointer, "holds NaN or infinity")
        return nothing
    _check_bounds(accessor, pointer, values, complaints)
    bounded = "min" in accessor and "max" in accessor
    return AccessorData(values, kind, component, count, accessor.get("normalized") is True, bounded)


def _read(
    accessor: dict[str, Any], pointer: str, span: Span, content: bytes, complaints: Complaints
) -> Values | None:
    """The values (n, width) where they lie in the file; a view, no copy."""
    dtype, width = np.dtype(DTYPES[accessor["componentType"]]), WIDTHS[accessor["type"]]
    offset, count = int(accessor.get("byteOffset", 0)), int(accessor["count"])
    step = span.stride or dtype.itemsize * width
    if (span.start + offset) % dtype.itemsize or offset % dtype.itemsize:
        complaints.error("ACCESSOR_TOTAL_OFFSET_ALIGNMENT", pointer, f"no multiple of {dtype.itemsize}")
        return None
    if step < dtype.itemsize * width:
        complaints.error("ACCESSOR_SMALL_BYTESTRIDE", pointer, f"{step} bytes hold no element")
        return None
    if offset + (count - 1) * step + dtype.itemsize * width > span.length:
        complaints.error("ACCESSOR_TOO_LONG", pointer, f"{count} elements are more than its buffer view")
        return None
    return np.ndarray(
        (count, width), dtype, content, offset=span.start + offset, strides=(step, dtype.itemsize)
    )


def _check_bounds(accessor: dict[str, Any], pointer: str, values: Values, complaints: Complaints) -> None:
    for name in ("min", "max"):
        declared = accessor.get(name)
        if declared is None:
            continue
        if not (
            isinstance(declared, list)
            and len(declared) == values.shape[1]
            and all(isinstance(value, (int, float)) for value in declared)
        ):
            complaints.error(
                "ARRAY_LENGTH_NOT_IN_LIST", f"{pointer}/{name}", "is no list of that many numbers"
            )
            continue
        found = values.min(axis=0) if name == "min" else values.max(axis=0)
        with np.errstate(all="ignore"):
            same = np.array_equal(np.asarray(declared, dtype=np.float64).astype(values.dtype), found)
        if not same:
            complaints.error(
                f"ACCESSOR_{name.upper()}_MISMATCH",
                f"{pointer}/{name}",
                f"says {declared}, is {found.tolist()}",
            )


def _check_primitive(
    primitive: dict[str, Any],
    pointer: str,
    accessors: list[AccessorData],
    quantized: bool,
    judged: set[tuple[str, int]],
    complaints: Complaints,
) -> None:
    attributes = object_of(primitive, "attributes")
    if "POSITION" not in attributes:
        complaints.warning("MESH_PRIMITIVE_NO_POSITION", pointer, "has no positions: it is not drawn")
    counts: dict[str, int] = {}
    for name, index in attributes.items():
        place = f"{pointer}/attributes/{name}"
        if whole(index) is None or index >= len(accessors):
            complaints.error("UNRESOLVED_REFERENCE", place, f"there is no accessor {index!r}")
            continue
        data = accessors[index]
        counts[name] = data.count
        if (name, index) not in judged:
            judged.add((name, index))
            _check_attribute(name, data, place, quantized, complaints)
    if len(set(counts.values())) > 1:
        complaints.error("MESH_PRIMITIVE_UNEQUAL_ACCESSOR_COUNT", pointer, f"its attributes have {counts}")
    if "indices" in primitive:
        _check_indices(primitive, pointer, accessors, min(counts.values(), default=0), complaints)
    elif counts and primitive.get("mode", TRIANGLES) == TRIANGLES and min(counts.values()) % 3:
        complaints.warning("MESH_PRIMITIVE_INCOMPATIBLE_MODE", pointer, "its vertices are no whole triangles")


def _check_draco(
    packed: dict[str, Any], pointer: str, spans: list[Span | None], complaints: Complaints
) -> None:
    view = whole(packed.get("bufferView"))
    if view is None or view >= len(spans):
        complaints.error(
            "UNRESOLVED_REFERENCE", pointer, f"there is no buffer view {packed.get('bufferView')!r}"
        )
    elif not object_of(packed, "attributes"):
        complaints.error("EMPTY_ENTITY", f"{pointer}/attributes", "names no attribute")
    else:
        complaints.info("COMPRESSED_NOT_DECODED", pointer, "compressed: its values were not looked into")


def _check_attribute(
    name: str, data: AccessorData, pointer: str, quantized: bool, complaints: Complaints
) -> None:
    base = name.split("_")[0]
    if name.startswith("_") or base not in ATTRIBUTE_TYPES:
        return
    if data.kind not in ATTRIBUTE_TYPES[base]:
        complaints.error("MESH_PRIMITIVE_ATTRIBUTES_ACCESSOR_INVALID_FORMAT", pointer, f"is {data.kind}")
        return
    if data.values is None:
        return
    values = data.values
    if base == "POSITION" and not data.bounded:
        complaints.error(
            "MESH_PRIMITIVE_POSITION_ACCESSOR_WITHOUT_BOUNDS", pointer, "its min or max is missing"
        )
    if not quantized and base in ("POSITION", "NORMAL", "TANGENT") and data.component != FLOAT:
        complaints.error(
            "MESH_PRIMITIVE_ATTRIBUTES_ACCESSOR_INVALID_FORMAT", pointer, f"not float, and no {QUANTIZATION}"
        )
        return
    if values.strides[0] % WORD:
        complaints.error("MESH_PRIMITIVE_ACCESSOR_UNALIGNED", pointer, "its elements are not 4 bytes apart")
    if base in ("NORMAL", "TANGENT"):
        lengths = _lengths(values[:, :3], data)
        wrong = int((np.abs(lengths - 1) > UNIT_TOLERANCE).sum())
        if wrong:
            complaints.error(
                "ACCESSOR_VECTOR3_NON_UNIT", pointer, f"{wrong} of {data.count} are not of length 1"
            )
    if base == "TANGENT" and data.component == FLOAT and not np.isin(values[:, 3], (-1.0, 1.0)).all():
        complaints.error("ACCESSOR_INVALID_SIGN", pointer, "a tangent's w is neither 1 nor -1")
    if base == "COLOR" and data.component == FLOAT and ((values < 0) | (values > 1)).any():
        complaints.error("ACCESSOR_NON_CLAMPED", pointer, "a colour is outside 0 to 1")
    if base in ("COLOR", "TEXCOORD") and not quantized and data.component != FLOAT and not data.normalized:
        complaints.error(
            "MESH_PRIMITIVE_ATTRIBUTES_ACCESSOR_INVALID_FORMAT", pointer, "whole, not normalized"
        )


def _lengths(vectors: Values, data: AccessorData) -> npt.NDArray[np.float32]:
    floats = vectors.astype(np.float32, copy=False)
    if data.component != FLOAT:
        floats = np.maximum(floats / np.float32(np.iinfo(vectors.dtype).max), np.float32(-1))
    lengths: npt.NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", floats, floats))
    return lengths


def _check_indices(
    primitive: dict[str, Any],
    pointer: str,
    accessors: list[AccessorData],
    vertices: int,
    complaints: Complaints,
) -> None:
    place, index = f"{pointer}/indices", primitive["indices"]
    if whole(index) is None or index >= len(accessors):
        complaints.error("UNRESOLVED_REFERENCE", place, f"there is no accessor {index!r}")
        return
    data = accessors[index]
    if data.kind != "SCALAR" or data.component not in INDEX_TYPES or data.normalized:
        complaints.error(
            "MESH_PRIMITIVE_INDICES_ACCESSOR_INVALID_FORMAT", place, "is no list of whole numbers"
        )
        return
    triangles = primitive.get("mode", TRIANGLES) == TRIANGLES
    if triangles and data.count % 3:
        complaints.warning("MESH_PRIMITIVE_INCOMPATIBLE_MODE", place, f"{data.count} make no whole triangles")
    if data.values is None:
        return
    largest = int(data.values.max())
    if largest == np.iinfo(data.values.dtype).max:
        complaints.error("ACCESSOR_INDEX_PRIMITIVE_RESTART", place, f"{largest} restarts a strip")
    elif largest >= vertices:
        complaints.error("ACCESSOR_INDEX_OOB", place, f"vertex {largest} of {vertices}")
    if triangles and data.count % 3 == 0:
        corners = data.values.reshape(-1, 3)
        first, second, third = corners[:, 0], corners[:, 1], corners[:, 2]
        same = int(((first == second) | (second == third) | (third == first)).sum())
        if same:
            complaints.info("ACCESSOR_INDEX_TRIANGLE_DEGENERATE", place, f"{same} name a vertex twice")
