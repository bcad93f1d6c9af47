"""Where faces look, and how large they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def face_directions(points: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]) -> Doubles:
    """(m,3): perpendicular to each face (m,3) over points (n,3), as long as twice its area."""
    places = points.astype(np.float64)
    first = places[faces[:, 0]]
    return cross(places[faces[:, 1]] - first, places[faces[:, 2]] - first)


def cross(one: Doubles, other: Doubles) -> Doubles:
    """Products of rows (m,3), an axis at a time: np.cross takes two to three times as long."""
    found = np.empty_like(one)
    for axis, (left, right) in enumerate(((1, 2), (2, 0), (0, 1))):
        found[:, axis] = one[:, left] * other[:, right] - one[:, right] * other[:, left]
    return found
