"""How far two surfaces are from each other: the two-sided distance, measured at many points.

Points are spread over both surfaces by area, and their vertices are asked too, as there a simplified
surface is furthest from its source (Cignoni, Rocchini and Scopigno 1998, Metro).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline3d.geometry.closest import Points, Surface

PROBES = 6_000
"""On each of the two surfaces, and at most as many of the source's vertices."""
FAR_SHARE = 0.03
"""So many of the distances, the largest, are measured again with more candidates: they make the maximum."""
MANY_CANDIDATES = 32
EQUAL = 1e-9
"""Relative; two ways of calculating the same distance differ by less."""
MOST_EXACT = 200
"""Distances that are measured against every face that could be closer, from the largest on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """Distances in the models' unit (metres), and as shares of the diagonal of the source's bounding box."""

    maximum_m: float
    rms_m: float
    relative_maximum: float
    relative_rms: float


NO_DEVIATION = Deviation(maximum_m=0.0, rms_m=0.0, relative_maximum=0.0, relative_rms=0.0)


def measure_deviation(source: Surface, found: Surface, *, probes: int = PROBES) -> Deviation:
    """The larger of both directions: the maximum (sampled Hausdorff distance) and the root mean square."""
    corners = source.corners.reshape(-1, 3)
    there, back = source.spread(probes)[0], found.spread(probes)[0]
    there_maximum, there_rms = _distances(
        np.concatenate([there, corners[:: 1 + len(corners) // probes]]), len(there), found
    )
    back_maximum, back_rms = _distances(back, len(back), source)
    maximum, rms = max(there_maximum, back_maximum), max(there_rms, back_rms)
    scale = source.diagonal if source.diagonal > 0 else 1.0
    return Deviation(maximum_m=maximum, rms_m=rms, relative_maximum=maximum / scale, relative_rms=rms / scale)


def _distances(points: Points, spread: int, asked: Surface) -> tuple[float, float]:
    """The maximum of all points (k,3), and the root mean square of the first `spread`, which are even."""
    distances = asked.closest(points).distances
    count = max(1, int(FAR_SHARE * len(points)))
    far = np.argpartition(distances, -count)[-count:]
    again = asked.closest(points[far], candidates=MANY_CANDIDATES).distances
    distances[far] = np.minimum(distances[far], again)
    for _ in range(MOST_EXACT):
        furthest = int(distances.argmax())
        exact = asked.exact_distance(points[furthest], at_most=float(distances[furthest]))
        settled = exact >= distances[furthest] * (1 - EQUAL)
        distances[furthest] = exact
        if settled:
            break
    return float(distances.max()), float(np.sqrt(np.mean(distances[:spread] ** 2)))
