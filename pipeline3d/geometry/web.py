"""A model for the web: quantised, compressed with meshopt or Draco, with small pictures; and back.

meshopt (EXT_meshopt_compression) is the default: <model-viewer>, three.js and Babylon.js read it, and
decoding takes no time. Draco is smaller still for the wire and slower to open. Pictures are WebP without a
second copy as JPEG: every browser shows WebP since 2020, a copy would take the bytes back that were saved,
and the plain GLB is there for other readers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput, InvalidParameters
from pipeline3d.geometry import draco_codec, ktx2, meshopt_codec
from pipeline3d.geometry.gltf_container import (
    ARRAY_BUFFER,
    ELEMENT_ARRAY_BUFFER,
    TRIANGLES,
    UNSIGNED_INT,
    UNSIGNED_SHORT,
    pack,
)
from pipeline3d.geometry.gltf_writing import (
    MOST_SHORT_VERTICES,
    GltfBuilder,
    check_part,
    unit_normals,
)
from pipeline3d.geometry.mesh import Model, Texture, TexturedMesh
from pipeline3d.geometry.quantising import EXTENSION as QUANTISATION
from pipeline3d.geometry.quantising import Grid, Precision, grid_of, quantise_uvs
from pipeline3d.geometry.thinning import thin_out
from pipeline3d.geometry.web_reading import COMPONENTS, decompress
from pipeline3d.geometry.web_textures import TextureFormat, compressing_textures

__all__ = ["Codec", "compress", "decompress"]

Codec = Literal["meshopt", "draco"]
Entry = dict[str, Any]

TEXTURE_PX = 2048
MOST_TEXTURE_PX = 8192
WEB_PRECISION = Precision()
MOST_SIMPLIFY_ERROR = 0.1


def compress(
    model: Model,
    *,
    codec: Codec = "meshopt",
    name: str,
    extras: dict[str, Any] | None = None,
    texture_px: int = TEXTURE_PX,
    texture_format: TextureFormat = "webp",
    precision: Precision = WEB_PRECISION,
    simplify_error: float | None = None,
) -> bytes:
    """The model as a small GLB. What it may differ from the model is bounded by `precision`.

    `simplify_error` is a share of the largest extent by which faces may be joined (0.0001 cannot be seen and
    saves a third of a scanned mesh); without it every face is kept.

    `texture_px` bounds the longer side of pictures. Faces keep their number with meshopt; Draco drops those
    with two equal corners. Equal models give equal bytes. Raises BrokenModelOutput `empty_mesh`, `nan_mesh`,
    `broken_mesh`, InvalidParameters, UnusableInput for pictures, ModelNotReady for KTX2 without an encoder.
    """
    if codec not in ("meshopt", "draco"):
        raise InvalidParameters(f"The codec is meshopt or draco, not {codec!r}.", code="unknown_codec")
    if not 1 <= texture_px <= MOST_TEXTURE_PX:
        raise InvalidParameters(f"Textures have 1 to {MOST_TEXTURE_PX} pixels a side, not {texture_px}.")
    if simplify_error is not None and not 0.0 < simplify_error <= MOST_SIMPLIFY_ERROR:
        raise InvalidParameters(
            f"simplify_error is a share above 0 and at most {MOST_SIMPLIFY_ERROR}, not {simplify_error}."
        )
    whole = Model(parts=tuple(_as_drawn(part) for part in model.parts if len(part.faces)))
    if not whole.parts:
        raise BrokenModelOutput("The model has no faces.", code="empty_mesh")
    for part in whole.parts:
        check_part(part)
    grid = grid_of(whole, precision.position_bits)
    builder = MeshoptBuilder(grid=grid) if codec == "meshopt" else DracoBuilder()
    with compressing_textures(whole, longest_px=texture_px, texture_format=texture_format) as finish:
        shape = whole if simplify_error is None else thin_out(whole, simplify_error)
        if codec == "meshopt":
            geometries: list[Any] = [quantise(part, grid, precision) for part in shape.parts]
        else:
            geometries = [draco_codec.encode_part(part, grid, precision) for part in shape.parts]
        pictured = finish()
    primitives = [
        builder.add_compressed(part, geometry)
        for part, geometry in zip(pictured.parts, geometries, strict=True)
    ]
    return pack(builder.document(primitives, name=name, extras=extras), builder.chunks)


def _as_drawn(part: TexturedMesh) -> TexturedMesh:
    """The part without what no picture uses."""
    if part.uvs is None or part.has_pictures:
        return part
    return replace(part, uvs=None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantised:
    """A part's triangles (3m,), in drawing order, and its streams of rows, ready to be encoded."""

    indices: npt.NDArray[np.uint32]
    positions: npt.NDArray[np.uint16]
    normals: npt.NDArray[Any] | None
    uvs: npt.NDArray[Any] | None
    colours: npt.NDArray[np.uint8] | None


def quantise(part: TexturedMesh, grid: Grid, precision: Precision) -> Quantised:
    """The part in fewer bits: vertices that became equal are one, triangles in the order of drawing."""
    positions = np.zeros((len(part.vertices), 4), np.uint16)
    positions[:, :3] = grid.quantise(part.vertices)
    streams: dict[str, npt.NDArray[Any]] = {"positions": positions}
    if part.normals is not None:
        unit = unit_normals(part.normals)
        streams["normals"] = meshopt_codec.encode_octahedral(unit, precision.normal_bits)
    if part.uvs is not None:
        streams["uvs"] = quantise_uvs(part.uvs, precision.uv_bits)
    if part.colours is not None:
        streams["colours"] = part.colours.astype(np.uint8, copy=False)
    rows = np.concatenate([_as_bytes(stream) for stream in streams.values()], axis=1)
    indices, kept = meshopt_codec.weld(rows, part.faces.reshape(-1).astype(np.uint32))
    ordered, order = meshopt_codec.order_for_drawing(indices, positions[kept, :3].astype(np.float32))
    final = {key: np.ascontiguousarray(stream[kept[order]]) for key, stream in streams.items()}
    return Quantised(
        indices=ordered,
        positions=final["positions"],
        normals=final.get("normals"),
        uvs=final.get("uvs"),
        colours=final.get("colours"),
    )


def _as_bytes(rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)


class WebBuilder(GltfBuilder):
    """A document with compressed geometry and perhaps KTX2 pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.required: set[str] = set()

    def add_compressed(self, part: TexturedMesh, geometry: Any) -> Entry:
        """One primitive of geometry that is compressed already."""
        raise NotImplementedError

    def require(self, extension: str) -> None:
        """A reader that does not know it cannot show the file."""
        self.extensions.add(extension)
        self.required.add(extension)

    def add_texture(self, texture: Texture, wrap: str) -> Entry:
        """KTX2 is named by an extension, other pictures as in a plain file."""
        info = super().add_texture(texture, wrap)
        if texture.mime_type == ktx2.KTX2:
            self.require(ktx2.EXTENSION)
            entry = self.textures[info["index"]]
            if "source" in entry:
                entry["extensions"] = {ktx2.EXTENSION: {"source": entry.pop("source")}}
        return info

    def document(self, primitives: list[Entry], *, name: str, extras: Entry | None) -> Entry:
        """The JSON, with the extensions that it needs."""
        document = super().document(primitives, name=name, extras=extras)
        document["extensionsUsed"] = sorted(self.extensions)
        document["extensionsRequired"] = sorted(self.required | set(document.get("extensionsRequired", [])))
        return document


class MeshoptBuilder(WebBuilder):
    """Buffer views are compressed; a second buffer, which has no bytes, is what they decode to."""

    def __init__(self, *, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.fallback_length = 0

    def add_compressed(self, part: TexturedMesh, geometry: Quantised) -> Entry:
        """One primitive of quantised streams."""
        self.require(meshopt_codec.EXTENSION)
        self.require(QUANTISATION)
        numbers = geometry.positions[:, :3]
        bounds = {"min": numbers.min(axis=0).tolist(), "max": numbers.max(axis=0).tolist()}
        attributes = {"POSITION": self._add_rows(geometry.positions, "VEC3", **bounds)}
        if geometry.normals is not None:
            attributes["NORMAL"] = self._add_rows(
                geometry.normals, "VEC3", coding={"filter": "OCTAHEDRAL"}, normalized=True
            )
        if geometry.uvs is not None:
            more: Entry = {"normalized": True} if geometry.uvs.dtype == np.uint16 else {}
            attributes["TEXCOORD_0"] = self._add_rows(geometry.uvs, "VEC2", **more)
        if geometry.colours is not None:
            attributes["COLOR_0"] = self._add_rows(geometry.colours, "VEC4", normalized=True)
        return {
            "attributes": attributes,
            "indices": self._add_indices(geometry.indices, len(geometry.positions)),
            "material": self.add_material(part),
            "mode": TRIANGLES,
        }

    def _add_rows(
        self, rows: npt.NDArray[Any], kind: str, *, coding: Entry | None = None, **more: Any
    ) -> int:
        stride = rows.itemsize * rows.shape[1]
        view = self._add_coded(
            meshopt_codec.encode_rows(rows),
            {"mode": "ATTRIBUTES", "byteStride": stride, "count": len(rows)} | (coding or {}),
            target=ARRAY_BUFFER,
        )
        self.views[view]["byteStride"] = stride
        component = COMPONENTS[rows.dtype]
        self.accessors.append(
            {"bufferView": view, "componentType": component, "count": len(rows), "type": kind} | more
        )
        return len(self.accessors) - 1

    def _add_indices(self, indices: npt.NDArray[np.uint32], vertex_count: int) -> int:
        short = vertex_count <= MOST_SHORT_VERTICES
        view = self._add_coded(
            meshopt_codec.encode_triangles(indices, vertex_count),
            {"mode": "TRIANGLES", "byteStride": 2 if short else 4, "count": len(indices)},
            target=ELEMENT_ARRAY_BUFFER,
        )
        component = UNSIGNED_SHORT if short else UNSIGNED_INT
        self.accessors.append(
            {"bufferView": view, "componentType": component, "count": len(indices), "type": "SCALAR"}
        )
        return len(self.accessors) - 1

    def _add_coded(self, data: bytes, coding: Entry, *, target: int) -> int:
        """Append a stream; the view itself lies in the buffer of decoded bytes."""
        index = self.add_view(data)
        stored = self.views[index]
        where = {key: stored[key] for key in ("buffer", "byteOffset", "byteLength") if key in stored}
        length = coding["count"] * coding["byteStride"]
        self.views[index] = {
            "buffer": 1,
            "byteOffset": self.fallback_length,
            "byteLength": length,
            "target": target,
            "extensions": {meshopt_codec.EXTENSION: where | coding},
        }
        self.fallback_length += length + -length % 4
        return index

    def document(self, primitives: list[Entry], *, name: str, extras: Entry | None) -> Entry:
        """The JSON; the node brings the grid's numbers back to their place."""
        document = super().document(primitives, name=name, extras=extras)
        document["nodes"][0] |= {"translation": list(self.grid.origin), "scale": [self.grid.step] * 3}
        document["buffers"].append(
            {
                "byteLength": self.fallback_length,
                "extensions": {meshopt_codec.EXTENSION: {"fallback": True}},
            }
        )
        return document


class DracoBuilder(WebBuilder):
    """Each primitive names one Draco stream; its accessors say what a decoder makes of it."""

    def add_compressed(self, part: TexturedMesh, geometry: bytes) -> Entry:
        """One primitive of a Draco stream, whose counts and bounds are read back from it."""
        self.require(draco_codec.EXTENSION)
        mesh = draco_codec.decode_stream(geometry, most_faces=len(part.faces))
        ids = mesh.named()
        attributes = {
            attribute: self._describe(attribute, mesh.attributes[key].values)
            for attribute, key in sorted(ids.items())
        }
        short = mesh.vertex_count <= MOST_SHORT_VERTICES
        self.accessors.append(
            {
                "componentType": UNSIGNED_SHORT if short else UNSIGNED_INT,
                "count": 3 * len(mesh.faces),
                "type": "SCALAR",
            }
        )
        coding = {"bufferView": self.add_view(geometry), "attributes": dict(sorted(ids.items()))}
        return {
            "attributes": attributes,
            "indices": len(self.accessors) - 1,
            "material": self.add_material(part),
            "mode": TRIANGLES,
            "extensions": {draco_codec.EXTENSION: coding},
        }

    def _describe(self, attribute: str, values: npt.NDArray[Any]) -> int:
        accessor: Entry = {
            "componentType": COMPONENTS[values.dtype],
            "count": len(values),
            "type": f"VEC{values.shape[1]}",
        }
        if attribute == "POSITION":
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        if values.dtype == np.uint8:
            accessor["normalized"] = True
        self.accessors.append(accessor)
        return len(self.accessors) - 1
