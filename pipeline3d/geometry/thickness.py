"""How thin the walls of a closed model are, by rays from its surface inwards.

A wall has two sides that look apart: rays that leave through a side at more than 60 degrees to their own
are at an edge or a tip and do not count, as in the shape diameter function (Shapira et al. 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.face_directions import cross
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.ray_grid import RayGrid
from pipeline3d.geometry.topology import count_edge_uses, weld

Doubles = npt.NDArray[np.float64]

SAMPLES = 1_500
MOST_TESTS = 500_000_000
"""Of a ray against a triangle, should every sample look into the fullest cell: about half a minute."""
FEWEST_WALLS = 50
"""Rays that met an opposite wall; fewer say nothing."""
OPPOSITE = 0.5
"""Cosine between the ray and the normal of the side through which it leaves."""
THINNEST_SHARE = 0.005
"""The thinnest half per cent of the surface counts, not a single ray's accident."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walls:
    """For each sample that met an opposite wall: where it is (k,3) and how thick the wall is there (k,)."""

    places: Doubles
    thickness: Doubles

    @property
    def thinnest(self) -> float | None:
        """What all but half a per cent of the walls are thicker than; None with too few samples."""
        return (
            float(np.quantile(self.thickness, THINNEST_SHARE))
            if len(self.thickness) >= FEWEST_WALLS
            else None
        )


def measure_thinnest(model: Model, *, samples: int = SAMPLES) -> float | None:
    """An estimate of the thinnest part, in the model's unit; None where it has no closed, outward surface.

    It can be too large where a thin part has less than about half a per cent of the area; the same model
    gives the same number.
    """
    walls = sample_walls(model, samples=samples)
    return None if walls is None else walls.thinnest


def sample_walls(model: Model, *, samples: int = SAMPLES) -> Walls | None:
    """The walls at places spread evenly over the area; None where the surface is not closed and outward.

    None, too, where nearly all faces are crammed into a corner of the bounds, as it would take minutes.
    """
    surface = model.surface()
    if not len(surface.faces) or not np.isfinite(surface.vertices).all():
        return None
    points = weld(surface.vertices)
    edges = count_edge_uses(points.labels[surface.faces], points.count)
    if (edges.uses != 2).any() or edges.balance.any():
        return None
    corners = surface.vertices.astype(np.float64)[surface.faces]
    vectors = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(vectors, axis=1)
    if np.einsum("ij,ij->", corners[:, 0], vectors) <= 0:
        return None
    normals = vectors / np.maximum(areas, 1e-300)[:, None]
    chosen, places = _spread(corners, areas, samples)
    diagonal = float(np.linalg.norm(corners.max(axis=(0, 1)) - corners.min(axis=(0, 1))))
    grid = RayGrid.build(corners)
    if samples * int(np.diff(grid.starts).max()) > MOST_TESTS:
        return None
    found, distance = grid.first_hits(
        places, -normals[chosen], facing=normals, nearest=1e-6 * diagonal, furthest=diagonal
    )
    met = found >= 0
    met[met] = np.einsum("ij,ij->i", -normals[chosen[met]], normals[found[met]]) >= OPPOSITE
    return Walls(places=places[met], thickness=distance[met])


def _spread(corners: Doubles, areas: Doubles, count: int) -> tuple[npt.NDArray[np.int64], Doubles]:
    """Faces and places on them, evenly by area: equal steps through the summed areas, the same every time."""
    random = np.random.default_rng(0)
    summed = np.cumsum(areas)
    steps = (np.arange(count) + random.uniform(0, 1, count)) / count * summed[-1]
    chosen = np.minimum(np.searchsorted(summed, steps), len(areas) - 1)
    one, other = random.uniform(0, 1, (2, count))
    root = np.sqrt(one)
    weights = np.stack([1 - root, root * (1 - other), root * other], axis=1)
    return chosen, np.einsum("ij,ijk->ik", weights, corners[chosen])
