"""Repair what simplifying pinched together: edges at which four faces meet instead of two.

Collapsing edges lets sheets that run close to each other share an edge. One of the two sheets gets a corner
of its own in the middle of it: no place moves, and each edge has two faces again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Triangles = npt.NDArray[np.int32]

MOST_PASSES = 12


def split_double_edges(vertices: Floats, faces: Triangles) -> tuple[Floats, Triangles, npt.NDArray[np.int64]]:
    """Vertices with those in the middle of double edges, faces, and the old vertex that each one resembles.

    A mesh that uses each edge equally often both ways becomes closed; of another one nothing is promised.
    """
    places, triangles = [*vertices], [tuple(int(corner) for corner in face) for face in faces]
    source = list(range(len(vertices)))
    for _ in range(MOST_PASSES):
        pairs = _find_double_edges(np.array(triangles, np.int64))
        if not pairs:
            break
        for first, second, start, end in pairs:
            middle = len(places)
            places.append((places[start] + places[end]) / np.float32(2))
            source.append(source[start])
            for face in (first, second):
                corners = triangles[face]
                triangles[face] = tuple(middle if corner == end else corner for corner in corners)
                triangles.append(tuple(middle if corner == start else corner for corner in corners))
    return np.array(places, np.float32), np.array(triangles, np.int32), np.array(source, np.int64)


def _find_double_edges(faces: npt.NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
    """For edges used more than once each way: a face of either direction, start and end; no face twice."""
    start, end = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    count = int(faces.max(initial=0)) + 1
    key = start * count + end
    repeated, times = np.unique(key, return_counts=True)
    taken: set[int] = set()
    pairs = []
    for edge in repeated[times > 1]:
        a, b = int(edge // count), int(edge % count)
        forward = [int(place) // 3 for place in np.flatnonzero(key == edge)]
        backward = [int(place) // 3 for place in np.flatnonzero(key == b * count + a)]
        free = (
            [face for face in forward if face not in taken],
            [face for face in backward if face not in taken],
        )
        if a < b and free[0] and free[1]:
            pairs.append((free[0][-1], free[1][-1], a, b))
            taken.update((free[0][-1], free[1][-1]))
    return pairs
