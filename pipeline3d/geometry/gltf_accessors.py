"""The arrays of a glTF document: accessors, buffer views, strides, sparse values (section 3.6).

Every offset and length is checked against what is there before an array is made, and all arrays together
against a budget, so that a lie costs nothing. Wrong ones are `UnusableInput` `broken_model_file`, too many
`model_too_large`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.gltf_container import DTYPES, Bytes, entry_of
from pipeline3d.geometry.refusals import broken, refused

WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
MOST_STRIDE = 252


@dataclass
class Accessors:
    """A document's arrays. `most_values` bounds the numbers in all arrays that are read."""

    document: dict[str, Any]
    buffers: list[Bytes]
    most_values: int
    _read: dict[int, npt.NDArray[Any]] = field(default_factory=dict)

    def read(self, index: int, kinds: tuple[str, ...]) -> npt.NDArray[Any]:
        """The stored values (n,width), read-only and of their stored type; scalars are (n,1)."""
        accessor = entry_of(self.document, "accessors", index)
        if accessor["type"] not in kinds or accessor["type"] not in WIDTHS:
            raise broken(f"an accessor is {accessor['type']} where {' or '.join(kinds)} is wanted")
        if index not in self._read:
            self._read[index] = self._decode(accessor)
        return self._read[index]

    def read_floats(
        self, index: int, kinds: tuple[str, ...], *, any_integers: bool = False
    ) -> npt.NDArray[np.float32]:
        """The values as float32. Integers must be normalised, unless `any_integers` are taken."""
        found = entry_of(self.document, "accessors", index)
        values = self.read(index, kinds)
        if values.dtype == np.float32:
            return values.view(np.float32)
        if values.dtype == np.uint32 or not (found.get("normalized") or any_integers):
            raise broken(f"an accessor of {found['type']} has components of type {found['componentType']}")
        if not found.get("normalized"):
            return values.astype(np.float32)
        shares: npt.NDArray[np.float32] = values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
        return np.maximum(shares, np.float32(-1.0))

    def read_view(self, index: int) -> memoryview:
        """The bytes of a buffer view, not copied."""
        view = entry_of(self.document, "bufferViews", index)
        number = _natural(view["buffer"])
        if number >= len(self.buffers):
            raise broken(f"a buffer view names buffer {number}, which does not exist")
        content = memoryview(self.buffers[number])
        start, length = _natural(view.get("byteOffset", 0)), _natural(view["byteLength"])
        if start + length > len(content):
            raise broken("a buffer view lies outside its buffer")
        return content[start : start + length]

    def _decode(self, accessor: dict[str, Any]) -> npt.NDArray[Any]:
        dtype = DTYPES.get(accessor["componentType"])
        if dtype is None:
            raise broken(f"an accessor has components of the unknown type {accessor['componentType']}")
        count, width = _natural(accessor["count"]), WIDTHS[accessor["type"]]
        self.most_values -= count * width
        if self.most_values < 0:
            raise refused("model_too_large", "its arrays are longer than what is taken")
        if "bufferView" in accessor:
            values = self._strided(
                accessor["bufferView"], _natural(accessor.get("byteOffset", 0)), count, width, dtype
            )
        elif "sparse" in accessor:
            values = np.zeros((count, width), dtype)
        else:
            raise broken("an accessor has no data")
        if "sparse" in accessor:
            values = self._with_sparse(values, accessor["sparse"])
        return values

    def _strided(self, view: int, offset: int, count: int, width: int, dtype: Any) -> npt.NDArray[Any]:
        content = self.read_view(view)
        size = dtype.itemsize * width
        stride = entry_of(self.document, "bufferViews", view).get("byteStride", size)
        if not isinstance(stride, int) or not size <= stride <= max(size, MOST_STRIDE):
            raise broken(f"a buffer view has the stride {stride!r}")
        if count and offset + (count - 1) * stride + size > len(content):
            raise broken("an accessor is longer than its data")
        array: npt.NDArray[Any] = np.ndarray(
            (count, width), dtype, content if count else b"", offset if count else 0, (stride, dtype.itemsize)
        )
        return array

    def _with_sparse(self, values: npt.NDArray[Any], sparse: dict[str, Any]) -> npt.NDArray[Any]:
        count, width = _natural(sparse["count"]), values.shape[1]
        if count > len(values):
            raise broken("a sparse accessor has more values than it stands for")
        indices, new = sparse["indices"], sparse["values"]
        places = self._strided(
            indices["bufferView"],
            _natural(indices.get("byteOffset", 0)),
            count,
            1,
            DTYPES[indices["componentType"]],
        )[:, 0].astype(np.int64)
        if count and (places.min() < 0 or places.max() >= len(values)):
            raise broken("a sparse accessor writes outside its array")
        changed = values.copy()
        changed[places] = self._strided(
            new["bufferView"], _natural(new.get("byteOffset", 0)), count, width, values.dtype
        )
        return changed


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise broken(f"{value!r} is no count or offset")
    return value
