"""Texture coordinates for surfaces that have none: a careful atlas, or a quick one for drafts.

`xatlas` (Young; MIT) makes few charts of little distortion, but takes 2 s for 20,000 faces and half a minute
for 100,000, so it refuses more than a limit: simplify first. `box` looks at each face from the axis that it
faces most and lays connected faces of one axis down as a chart: linear, a fraction of a second, many charts.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry.face_directions import face_directions
from pipeline3d.geometry.joining import require_valid
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.topology import connect, half_edge_keys, weld

Integers = npt.NDArray[np.signedinteger]
Floats = npt.NDArray[np.floating]
Method = Literal["xatlas", "box"]

MOST_FACES = 40_000
"""For xatlas; about 6 s."""
GAP_PX = 2
"""Between charts, so that bilinear filtering at a seam sees filled gutters and not the neighbour."""
STEEPEST = 0.3
"""Cosine between a face and the axis that it is looked at from, below which it keeps its own best axis."""
SMOOTHING_ROUNDS = 4
"""How often faces take the axis that most of their neighbours have."""
PACKING_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unwrapped:
    """One part's atlas: source (k) vertex of each new vertex, faces (m,3) over those, uvs (k,2) in 0 to 1."""

    source: Integers
    faces: Integers
    uvs: npt.NDArray[np.float32]


def unwrap(parts: Sequence[TexturedMesh], *, size_px: int, method: Method = "xatlas") -> list[Unwrapped]:
    """One atlas for all parts together, for a square texture of `size_px`. Faces keep their order.

    Raises `UnusableInput` (`too_many_faces`, `broken_mesh`) and `InvalidParameters`.
    """
    for number, part in enumerate(parts):
        require_valid(part, number)
    if method == "box":
        return _unwrap_as_boxes(parts, size_px)
    if method != "xatlas":
        raise InvalidParameters(f"method is {method!r}; xatlas and box are allowed")
    count = sum(len(part.faces) for part in parts)
    if count > MOST_FACES:
        raise UnusableInput(
            f"{count} faces are too many to unwrap; {MOST_FACES} are allowed",
            code="too_many_faces",
            hint="Simplify it first, or use the method box.",
        )
    return _unwrap_carefully(parts, size_px)


def _unwrap_carefully(parts: Sequence[TexturedMesh], size_px: int) -> list[Unwrapped]:
    xatlas: Any = importlib.import_module("xatlas")  # has no types
    atlas = xatlas.Atlas()
    for part in parts:
        normals = () if part.normals is None else (np.ascontiguousarray(part.normals, np.float32),)
        atlas.add_mesh(
            np.ascontiguousarray(part.vertices, np.float32),
            np.ascontiguousarray(part.faces, np.uint32),
            *normals,
        )
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    pack.resolution, pack.padding, pack.bilinear = size_px, GAP_PX, True
    atlas.generate(chart_options=charts, pack_options=pack, verbose=False)
    found = []
    for number, part in enumerate(parts):
        source, faces, uvs = atlas.get_mesh(number)
        source, faces = np.asarray(source, np.int64), np.asarray(faces, np.int64).reshape(-1, 3)
        uvs = np.asarray(uvs, np.float32)
        # xatlas drops nothing and keeps the order; an atlas of another surface must not be believed
        if not np.isfinite(uvs).all() or not np.array_equal(source[faces], part.faces):
            raise UnusableInput(
                "the atlas does not fit the surface", code="broken_atlas", hint="Repair the model first."
            )
        found.append(Unwrapped(source=source, faces=faces, uvs=np.clip(uvs, 0, 1)))
    return found


def _unwrap_as_boxes(parts: Sequence[TexturedMesh], size_px: int) -> list[Unwrapped]:
    charts = [_lay_down(part) for part in parts]
    begins = np.cumsum([0, *(count for *_, count in charts)])
    chart = np.concatenate([own + begin for (_, own, _), begin in zip(charts, begins, strict=False)])
    flat = np.concatenate([corners for corners, _, _ in charts])
    low = np.full((begins[-1], 2), np.inf)
    high = np.full((begins[-1], 2), -np.inf)
    np.minimum.at(low, chart, flat.min(axis=1))
    np.maximum.at(high, chart, flat.max(axis=1))
    scale, places = _pack(high - low, size_px)
    pixels = (flat - low[chart][:, None]) * scale + places[chart][:, None]
    uvs = np.clip(pixels / size_px, 0, 1).astype(np.float32)
    faces_before = np.cumsum([0, *(len(part.faces) for part in parts)])
    found = []
    for part, begin, end in zip(parts, faces_before[:-1], faces_before[1:], strict=True):
        rows = np.stack([np.repeat(chart[begin:end], 3), part.faces.reshape(-1)], axis=1).astype(np.int64)
        keys = rows[:, 0] * (len(part.vertices) + 1) + rows[:, 1]
        _, first, number = np.unique(keys, return_index=True, return_inverse=True)
        found.append(
            Unwrapped(
                source=rows[first, 1],
                faces=number.reshape(-1, 3).astype(np.int64),
                uvs=uvs[begin:end].reshape(-1, 2)[first],
            )
        )
    return found


def _lay_down(part: TexturedMesh) -> tuple[npt.NDArray[np.float64], Integers, int]:
    """Each face's corners in the plane that it is seen in (m,3,2), its chart (m), and how many charts."""
    vertices, faces = part.vertices.astype(np.float64), part.faces
    directions = face_directions(vertices, faces)
    lengths = np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    facing = np.concatenate([directions, -directions], axis=1) / lengths  # +x +y +z -x -y -z
    axis = facing.argmax(axis=1)
    points = weld(part.vertices)
    keys, _ = half_edge_keys(points.labels[faces], points.count)
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    one, other = order[same] // 3, order[same + 1] // 3
    for _ in range(SMOOTHING_ROUNDS):
        votes = np.zeros((len(faces), 6))
        votes[np.arange(len(faces)), axis] = 1.0
        np.add.at(votes, (one, axis[other]), 1.0)
        np.add.at(votes, (other, axis[one]), 1.0)
        wanted = (votes + facing).argmax(axis=1)
        allowed = facing[np.arange(len(faces)), wanted] > STEEPEST
        axis = np.where(allowed, wanted, axis)
    together = axis[one] == axis[other]
    count, chart = connect(len(faces), one[together].astype(np.int32), other[together].astype(np.int32))
    right, up = _AXES[axis, 0], _AXES[axis, 1]
    corners = vertices[faces]
    flat = np.stack([np.einsum("mij,mj->mi", corners, right), -np.einsum("mij,mj->mi", corners, up)], axis=-1)
    return flat, chart.astype(np.int64), count


_AXES = np.array(
    [
        [(0, 0, -1), (0, 1, 0)],  # seen from +x: right is -z
        [(1, 0, 0), (0, 0, -1)],
        [(1, 0, 0), (0, 1, 0)],
        [(0, 0, 1), (0, 1, 0)],
        [(1, 0, 0), (0, 0, 1)],
        [(-1, 0, 0), (0, 1, 0)],
    ],
    np.float64,
)
"""Right and up in the picture for each axis that is looked from; right x up points to the eye."""


def _pack(sizes: npt.NDArray[np.float64], side: int) -> tuple[float, npt.NDArray[np.float64]]:
    """The largest scale found at which boxes (c,2) fit into a square on shelves, and their corners (c,2)."""
    order = np.argsort(-sizes[:, 1], kind="stable")
    area = float(sizes.prod(axis=1).sum())
    high = side / max(float(np.sqrt(area)), float(sizes.max()), 1e-12)
    low, best = 0.0, None
    for _ in range(PACKING_ROUNDS):
        scale = (low + high) / 2
        found = _shelve(sizes[order] * scale, side)
        if found is None:
            high = scale
        else:
            low, best = scale, found
    places = np.zeros_like(sizes)
    if best is None:
        raise UnusableInput(
            f"{len(sizes)} charts do not fit into {side} pixels a side",
            code="too_many_charts",
            hint="Simplify the model first, or use a larger texture.",
        )
    places[order] = best
    return low, places


def _shelve(sizes: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64] | None:
    """Boxes (c,2), highest first, in rows from the upper left; None where they do not fit."""
    padded = sizes + 2 * GAP_PX
    if padded.max() > side:
        return None
    places = np.empty_like(sizes)
    begin, top = 0, 0.0
    widths = np.cumsum(padded[:, 0])
    while begin < len(sizes):
        before = widths[begin - 1] if begin else 0.0
        end = max(begin + 1, int(np.searchsorted(widths, before + side, side="right")))
        height = padded[begin, 1]
        if top + height > side:
            return None
        places[begin:end, 0] = widths[begin:end] - padded[begin:end, 0] - before + GAP_PX
        places[begin:end, 1] = top + GAP_PX
        begin, top = end, top + height
    return places
