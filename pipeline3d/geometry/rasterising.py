"""Which triangle is seen in each sample of a picture, worked out with numpy alone.

Knows positions only: no colours, no light. The same bytes everywhere, no GPU, no system library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.cameras import Viewpoint

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]

LEAST_AREA = 1e-9
"""Square samples, doubled; triangles seen edge-on have less and no inside."""
BLOCK = 250_000
"""Triangle-sample pairs in one step: bounds the memory, and what is worked on stays in the cache."""
EDGE = -1e-4
"""A sample on an edge belongs to both triangles: no gap between them."""
GAP = 2e-5
"""Share of the depth by which the next layer is farther: neighbours on an edge are one layer."""


@dataclass(frozen=True, slots=True, eq=False)
class Triangles:
    """The triangles (m) that can be seen, the farthest first.

    Their faces' numbers, whether they are seen from behind, their doubled area, the upper left sample, width
    and count of samples of their boxes, and weights of their corners divided by depth: `planes` (3,3,m) holds
    for each corner the change per sample across, per sample down, and the value at the centre of the box's
    first sample. Counted from each box's own corner, since large coordinates would cost the digits that keep
    neighbours without a gap.
    """

    face: npt.NDArray[np.int64]
    behind: npt.NDArray[np.bool_]
    area: Floats
    left: Integers
    top: Integers
    width: Integers
    covered: Integers
    planes: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """What is seen: samples (k,), the face in each, its perspective-correct weights (k,3), whether its back
    is seen, its doubled area on the picture, and its closeness (1 / depth) (k,)."""

    pixel: npt.NDArray[np.int64]
    face: npt.NDArray[np.int64]
    weights: Floats
    behind: npt.NDArray[np.bool_]
    area: Floats
    closeness: Floats

    def __len__(self) -> int:
        """Samples."""
        return len(self.pixel)

    def take(self, chosen: npt.NDArray[np.int64] | slice) -> Fragments:
        """Some of them."""
        return Fragments(
            self.pixel[chosen],
            self.face[chosen],
            self.weights[chosen],
            self.behind[chosen],
            self.area[chosen],
            self.closeness[chosen],
        )


def rasterise(
    triangles: Triangles, side: int, *, beyond: Floats | None = None, before: Floats | None = None
) -> Fragments:
    """The nearest triangle in each sample.

    Every triangle is tested against the samples of its bounding box by edge functions (Pineda 1988), all
    triangles of a block at once; only who is nearest is kept, weights are worked out for the winners.
    `beyond` and `before` (side²,) are closenesses: only what lies behind the one and in front of the other
    is looked at, which gives one layer after another (depth peeling, Everitt 2001).
    """
    closest = np.zeros(side * side, np.float32) if before is None else before.copy()
    seen = np.full(side * side, -1, np.int32)
    for t, offset in blocks(triangles):
        draw_block(triangles, t, offset, side, closest, seen, beyond)
    pixels = np.flatnonzero(seen >= 0)
    winners = seen[pixels]
    row, column = np.divmod(pixels, side)
    across = (column - triangles.left[winners]).astype(np.float32)
    down = (row - triangles.top[winners]).astype(np.float32)
    weights = np.stack(
        [a[winners] * across + b[winners] * down + c[winners] for a, b, c in triangles.planes], axis=1
    )
    weights /= (weights[:, 0] + weights[:, 1] + weights[:, 2])[:, None]
    return Fragments(
        pixels,
        triangles.face[winners],
        weights,
        triangles.behind[winners],
        triangles.area[winners],
        closest[pixels],
    )


def set_up_triangles(
    vertices: Floats, faces: Integers, viewpoint: Viewpoint, two_sided: npt.NDArray[np.bool_] | None = None
) -> Triangles:
    """What drawing needs to know of each triangle that faces the camera, or may be seen from behind."""
    x, y, z = (values[faces].T.astype(np.float64) for values in viewpoint.project(vertices))
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    seen = area < -LEAST_AREA  # y runs down: what faces us is clockwise on the screen
    if two_sided is not None:
        seen |= two_sided & (area > LEAST_AREA)
    face = np.flatnonzero(seen)
    face = face[np.argsort(-z[:, face].sum(axis=0), kind="stable")]
    x, y, z, area = x[:, face], y[:, face], z[:, face], area[face]
    left, right = _sample_range(x, viewpoint.side)
    top, bottom = _sample_range(y, viewpoint.side)
    after, before = [1, 2, 0], [2, 0, 1]
    per_depth = 1 / (z * area)
    change_across = (y[after] - y[before]) * per_depth
    change_down = (x[before] - x[after]) * per_depth
    px, py = left + 0.5, top + 0.5
    crosses = (x[after] - px) * (y[before] - py) - (x[before] - px) * (y[after] - py)
    width = np.maximum(right - left + 1, 0)
    return Triangles(
        face=face,
        behind=area > 0,
        area=np.abs(area).astype(np.float32),
        left=left,
        top=top,
        width=width,
        covered=width * np.maximum(bottom - top + 1, 0),
        planes=np.stack([change_across, change_down, crosses * per_depth], axis=1).astype(np.float32),
    )


def blocks(triangles: Triangles) -> Iterator[tuple[Integers, Integers]]:
    """Pairs of a triangle and a sample of its box, both (p,), some at a time; a large box is cut in bands."""
    ends = np.cumsum(triangles.covered, dtype=np.int64)
    start = 0
    while start < len(ends):
        stop = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + BLOCK))
        if stop > start:
            count = triangles.covered[start:stop]
            t = np.repeat(np.arange(start, stop, dtype=np.int32), count)
            offset = np.arange(len(t), dtype=np.int32)
            offset -= np.repeat(np.cumsum(count, dtype=np.int32) - count, count)
            yield t, offset
            start = stop
            continue
        for low in range(0, int(triangles.covered[start]), BLOCK):
            high = min(low + BLOCK, int(triangles.covered[start]))
            yield np.full(high - low, start, np.int32), np.arange(low, high, dtype=np.int32)
        start += 1


def draw_block(
    triangles: Triangles,
    t: Integers,
    offset: Integers,
    side: int,
    closest: Floats,
    seen: Integers,
    beyond: Floats | None,
) -> None:
    """Draw some triangles into `closest` (1 / depth) and `seen` (number of the triangle), both by sample."""
    row = offset // triangles.width[t]
    column = offset - row * triangles.width[t]
    across, down = column.astype(np.float32), row.astype(np.float32)
    first, second, third = (a[t] * across + b[t] * down + c[t] for a, b, c in triangles.planes)
    closeness = first + second + third
    edge = EDGE * closeness
    hit = np.flatnonzero((first >= edge) & (second >= edge) & (third >= edge))
    t, closeness = t[hit], closeness[hit]
    pixel = (row[hit] + triangles.top[t]) * np.int32(side) + column[hit] + triangles.left[t]
    if beyond is not None:
        farther = np.flatnonzero(closeness < beyond[pixel] * np.float32(1 - GAP))
        pixel, closeness, t = pixel[farther], closeness[farther], t[farther]
    # Of several values for one sample an assignment keeps the last. That is the closest nearly everywhere,
    # as far triangles come first; the rest is put right by doing it again.
    while len(pixel):
        wins = np.flatnonzero(closeness > closest[pixel])
        pixel, closeness, t = pixel[wins], closeness[wins], t[wins]
        closest[pixel] = closeness
        seen[pixel] = t


def _sample_range(places: npt.NDArray[np.float64], side: int) -> tuple[Integers, Integers]:
    """First and last sample (m,) whose centres may lie within the extent of three corners (3,m)."""
    low = np.clip(np.ceil(places.min(axis=0) - 0.5), 0, side - 1).astype(np.int32)
    high = np.clip(np.floor(places.max(axis=0) - 0.5), -1, side - 1).astype(np.int32)
    return low, high
