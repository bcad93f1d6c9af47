"""Fewer faces where nobody can see it: edges are collapsed within a small share of the model's extent.

What glTF-Transform's `simplify` does by default with an error of 0.0001. The error is meshoptimizer's own
estimate (Garland and Heckbert 1997), a mean over the collapsed surface, and no bound on the distance of every
point; `simplifying` measures the distance and keeps a bound.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.collapsing import collapse_edges
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.meshopt_codec import weld

NORMAL_WEIGHT, UV_WEIGHT, COLOUR_WEIGHT = 0.01, 0.01, 0.01
"""How far a wrong attribute counts as a wrong place: one that is off by 1 as a hundredth of the extent."""
FEWEST_FACES = 4


def thin_out(model: Model, error: float) -> Model:
    """The model with as few faces as an error of `error` × its largest extent allows, each part by itself."""
    lows = np.min([part.vertices.min(axis=0) for part in model.parts], axis=0)
    highs = np.max([part.vertices.max(axis=0) for part in model.parts], axis=0)
    extent = float((highs - lows).max())
    if not extent > 0.0:
        return model
    return Model(parts=tuple(_thin_out_part(part, lows, extent, error) for part in model.parts))


def _thin_out_part(part: TexturedMesh, low: npt.NDArray[Any], extent: float, error: float) -> TexturedMesh:
    arrays = {
        name: np.ascontiguousarray(array)
        for name in ("vertices", "normals", "uvs", "colours")
        if (array := getattr(part, name)) is not None
    }
    rows = np.concatenate([a.view(np.uint8).reshape(len(a), -1) for a in arrays.values()], axis=1)
    indices, kept = weld(rows, part.faces.reshape(-1).astype(np.uint32))
    arrays = {name: array[kept] for name, array in arrays.items()}
    attributes, weights = _weighed(arrays)
    faces, _ = collapse_edges(
        ((arrays["vertices"] - low) / extent).astype(np.float32),
        indices.reshape(-1, 3).astype(np.int64),
        attributes,
        weights,
        target_faces=FEWEST_FACES,
        max_error=error,
    )
    if not len(faces):
        return part
    used, renumbered = np.unique(faces, return_inverse=True)
    left: dict[str, Any] = {name: array[used] for name, array in arrays.items()}
    return replace(part, faces=renumbered.reshape(-1, 3).astype(np.int32), **left)


def _weighed(
    arrays: dict[str, npt.NDArray[Any]],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Attributes (n,a) and their weights (a)."""
    columns: list[npt.NDArray[Any]] = [np.zeros((len(arrays["vertices"]), 0), np.float32)]
    weights: list[float] = []
    for name, weight, scale in (
        ("normals", NORMAL_WEIGHT, 1.0),
        ("uvs", UV_WEIGHT, 1.0),
        ("colours", COLOUR_WEIGHT, 1 / 255),
    ):
        if name in arrays:
            columns.append(arrays[name].astype(np.float32) * np.float32(scale))
            weights.extend([weight] * arrays[name].shape[1])
    return np.concatenate(columns, axis=1).astype(np.float32), np.array(weights, np.float32)
