"""Compressed glTF as plain glTF, of ours and of strangers: meshopt views and Draco primitives are decoded.

Counts, strides and lengths are checked, and all decoded bytes together are bounded, before a native decoder
is called. Draco's decoder can be kept busy all the same: files of strangers belong into a child process.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry import draco_codec, ktx2, meshopt_codec
from pipeline3d.geometry.gltf_accessors import WIDTHS
from pipeline3d.geometry.gltf_container import (
    BYTE,
    FLOAT,
    SHORT,
    UNSIGNED_BYTE,
    UNSIGNED_INT,
    UNSIGNED_SHORT,
    Bytes,
    entry_of,
    unpack,
)
from pipeline3d.geometry.gltf_nodes import Matrix
from pipeline3d.geometry.gltf_reading import DAMAGE, GltfSource, own_arrays, read_placed
from pipeline3d.geometry.gltf_writing import unit_normals
from pipeline3d.geometry.import_limits import LIMITS, MIB, ImportLimits
from pipeline3d.geometry.import_parts import place
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.refusals import broken, refused

MOST_DECODED_BYTES = 768 * MIB
"""All views and primitives of a file together."""
COMPONENTS = {
    np.dtype(np.int8): BYTE,
    np.dtype(np.uint8): UNSIGNED_BYTE,
    np.dtype(np.int16): SHORT,
    np.dtype(np.uint16): UNSIGNED_SHORT,
    np.dtype(np.uint32): UNSIGNED_INT,
    np.dtype(np.float32): FLOAT,
}
"""glTF's numbers for the types of arrays."""
Entry = dict[str, Any]


def decompress(data: bytes, *, limits: ImportLimits = LIMITS) -> Model:
    """The model of a compressed GLB (or a plain one): parts in the scene's coordinates, as written.

    Raises UnusableInput `broken_model_file`, `model_too_large`, `external_reference`, `unsupported_texture`.
    """
    document, content = unpack(data)
    document, buffers = expand(document, [content], limits=limits)
    source = GltfSource(_with_ktx2(document), buffers, limits=limits)
    parts = tuple(_place(part, matrix) for part, matrix, _ in read_placed(source))
    if not parts:
        raise refused("empty_mesh", "it has no faces")
    return Model(parts=parts)


def expand(
    document: Entry, buffers: list[Bytes], *, limits: ImportLimits = LIMITS
) -> tuple[Entry, list[Bytes]]:
    """The document with nothing compressed in it, and its buffers with the decoded ones behind them.

    The arguments stay as they are; a document without compression comes back as it is. Raises UnusableInput.
    """
    named = {*document.get("extensionsUsed", []), *document.get("extensionsRequired", [])}
    if not named & {*meshopt_codec.READABLE, draco_codec.EXTENSION}:
        return document, buffers
    expansion = _Expansion(copy.deepcopy(document), list(buffers), limits)
    try:
        expansion.decode_views()
        expansion.decode_primitives()
    except DAMAGE as error:
        raise broken(
            f"its compression does not fit its content ({type(error).__name__}: {str(error)[:120]})"
        ) from error
    return expansion.document, expansion.buffers


@dataclass
class _Expansion:
    """A document that is being expanded in place."""

    document: Entry
    buffers: list[Bytes]
    limits: ImportLimits
    bytes_left: int = field(default_factory=lambda: MOST_DECODED_BYTES)

    def decode_views(self) -> None:
        """Buffer views that meshopt compressed become plain ones of a buffer each."""
        fallback = {
            number
            for number, buffer in enumerate(self.document.get("buffers", []))
            if "uri" not in buffer and _coding_of(buffer) is not None
        }
        for view in self.document.get("bufferViews", []):
            extension = _coding_of(view)
            if extension is None:
                if view["buffer"] in fallback and view["buffer"] >= len(self.buffers):
                    raise broken("a buffer view lies in a buffer without bytes")
                continue
            count, stride = extension["count"], extension["byteStride"]
            if not isinstance(count, int) or not isinstance(stride, int) or count < 0 or stride < 1:
                raise broken("a compressed buffer view has no count or stride")
            self._spend(count * stride)
            if view.get("byteStride", stride) != stride or view["byteLength"] != count * stride:
                raise broken("a compressed buffer view has another length than what it decodes to")
            decoded = meshopt_codec.decode_view(extension, self._bytes_of(extension))
            del view["extensions"]
            view |= {"buffer": self._add_buffer(decoded), "byteOffset": 0, "byteLength": len(decoded)}

    def decode_primitives(self) -> None:
        """Primitives of KHR_draco_mesh_compression get accessors with data, of their own."""
        for mesh in self.document.get("meshes", []):
            for primitive in mesh["primitives"]:
                extension = primitive.get("extensions", {}).pop(draco_codec.EXTENSION, None)
                if extension is not None:
                    self._decode_primitive(primitive, extension)

    def _decode_primitive(self, primitive: Entry, extension: Entry) -> None:
        stream = self._bytes_of(entry_of(self.document, "bufferViews", extension["bufferView"]))
        faces = draco_codec.read_face_count(stream)
        self._spend(faces * 3 * 4)
        most = min(
            self.limits.faces, int(entry_of(self.document, "accessors", primitive["indices"])["count"]) // 3
        )
        mesh = draco_codec.decode_stream(stream, most_faces=most)
        self._spend(sum(found.values.nbytes for found in mesh.attributes.values()))
        for name, key in extension["attributes"].items():
            if key not in mesh.attributes:
                raise broken(f"a Draco stream has no attribute {key!r}")
            old = entry_of(self.document, "accessors", primitive["attributes"][name])
            values = mesh.attributes[key].values
            if values.shape[1] != WIDTHS.get(old["type"]):
                raise broken(f"a Draco stream has {values.shape[1]} numbers where {old['type']} is wanted")
            primitive["attributes"][name] = self._add_accessor(values, old)
        indices = mesh.faces.reshape(-1, 1)
        primitive["indices"] = self._add_accessor(
            indices, entry_of(self.document, "accessors", primitive["indices"])
        )

    def _add_accessor(self, values: npt.NDArray[Any], old: Entry) -> int:
        """An accessor like the old one, with these values (n,k)."""
        component = COMPONENTS.get(values.dtype)
        if component is None:
            raise broken(f"a Draco stream has numbers of type {values.dtype}")
        number = self._add_buffer(np.ascontiguousarray(values).tobytes())
        views = self.document.setdefault("bufferViews", [])
        views.append({"buffer": number, "byteLength": values.nbytes})
        kept = {key: old[key] for key in ("type", "normalized", "min", "max") if key in old}
        self.document["accessors"].append(
            kept | {"bufferView": len(views) - 1, "componentType": component, "count": len(values)}
        )
        return len(self.document["accessors"]) - 1

    def _add_buffer(self, content: bytes) -> int:
        """Append decoded bytes; the JSON's list of buffers may be longer than what had bytes."""
        while len(self.buffers) < len(self.document["buffers"]):
            self.buffers.append(b"")
        self.buffers.append(content)
        self.document["buffers"].append({"byteLength": len(content)})
        return len(self.buffers) - 1

    def _bytes_of(self, place: Entry) -> memoryview:
        """What a view, or a view's extension, names by buffer, offset and length."""
        number, start, length = place["buffer"], place.get("byteOffset", 0), place["byteLength"]
        if not all(isinstance(value, int) and value >= 0 for value in (number, start, length)):
            raise broken("a compressed buffer view has a negative offset or length")
        content = memoryview(self.buffers[number])
        if start + length > len(content):
            raise broken("a compressed buffer view lies outside its buffer")
        return content[start : start + length]

    def _spend(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise refused(
                "model_too_large",
                f"it decodes to more than {MOST_DECODED_BYTES // MIB} MiB",
            )


def _coding_of(entry: Entry) -> Entry | None:
    """What a buffer or a buffer view says of meshopt."""
    extensions = entry.get("extensions", {})
    coding: Entry | None = next((extensions[n] for n in meshopt_codec.READABLE if n in extensions), None)
    return coding


def _with_ktx2(document: Entry) -> Entry:
    """The document with KTX2 pictures named as others are: they are kept as they are, not decoded."""
    if ktx2.EXTENSION not in document.get("extensionsUsed", []):
        return document
    named = []
    for texture in document.get("textures", []):
        basis = texture.get("extensions", {}).get(ktx2.EXTENSION)
        named.append(texture if basis is None else texture | {"source": basis["source"]})
    return document | {"textures": named}


def _place(part: TexturedMesh, matrix: Matrix) -> TexturedMesh:
    """The part where its node puts it, with unit normals and arrays of its own."""
    own = own_arrays(place(part, matrix))
    return own if own.normals is None else replace(own, normals=unit_normals(own.normals))
