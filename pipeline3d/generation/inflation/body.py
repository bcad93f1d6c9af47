"""The rounded body of a silhouette: solve for a height field, take the surface that it encloses.

The height is the root of the solution of a screened Poisson equation over the silhouette, as in
"Repoussé" (Joshi and Carr 2008) and "Monster Mash" (Dvorožňák et al. 2020): smooth, linear, and with
the topology of the mask, so that a handle's hole becomes a hole. The surface is the zero level of
H(x, y) - eps - z², which crosses the rim smoothly where two height fields glued together would crease.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MARGIN_CELLS = 4
OUTSIDE_STIFFNESS = 8.0
"""How hard the height is held down per unit of transparency: soft edges move the rim by part of a cell."""
LOAD = 3.0
"""Right-hand side of the equation: makes a strip about as thick as it is wide."""
LEAST_DISTANCE = 1e-3
"""Samples closer to the level than this make slivers that weld to holes."""
SILHOUETTE_BLUR = 0.6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Body:
    """A closed surface in grid cells: x right, y up, z to the viewer, rim at z = 0.

    vertices (n,3) float32, faces (m,3) int32 counter-clockwise from outside; `cells` is the grid's side,
    `alpha` (cells, cells) the silhouette that it was made from, `depth` its half thickness.
    """

    vertices: npt.NDArray[np.float32]
    faces: npt.NDArray[np.int32]
    cells: int
    alpha: Floats
    depth: float
    faces_before: int


def inflate_silhouette(alpha: Floats, *, target_faces: int) -> Body:
    """The body of a silhouette (s, s) with values 0 to 1; it must not touch the frame."""
    from scipy import ndimage
    from skimage.measure import marching_cubes

    cells = alpha.shape[0]
    soft = ndimage.gaussian_filter(alpha, SILHOUETTE_BLUR)
    height = solve_height(soft)
    rim = np.abs(soft - 0.5) < 0.12
    level = float(np.median(height[rim])) if rim.any() else 0.5
    raised = np.where(height > 0, height - level, -level)
    half = int(np.ceil(np.sqrt(max(float(raised.max()), 1.0)))) + 3
    z = np.arange(-half, half + 1, dtype=np.float32)
    field = raised[:, :, None].astype(np.float32) - z[None, None] ** 2
    near = np.abs(field) < LEAST_DISTANCE
    field[near] = LEAST_DISTANCE
    vertices, faces, _, _ = marching_cubes(field, 0.0)
    points = np.stack([vertices[:, 1], cells - 1 - vertices[:, 0], vertices[:, 2] - half], axis=1)
    points = points.astype(np.float32)
    faces = orient_outwards(points, faces.astype(np.int32))
    before = len(faces)
    points, faces = simplify(points, faces, target_faces)
    return Body(
        vertices=points,
        faces=faces,
        cells=cells,
        alpha=soft,
        depth=float(np.sqrt(max(float(raised.max()), 1.0))),
        faces_before=before,
    )


def solve_height(alpha: Floats) -> Floats:
    """The solution H of -lap H + k (1 - a) H = c a on the grid, zero far outside."""
    from scipy import ndimage, sparse
    from scipy.sparse.linalg import spsolve

    inside = np.clip((alpha - 0.25) * 2, 0, 1)
    active = ndimage.binary_dilation(alpha > 0.02, iterations=2)
    active[0], active[-1], active[:, 0], active[:, -1] = False, False, False, False
    number = np.full(alpha.shape, -1)
    number[active] = np.arange(active.sum())
    count = int(active.sum())
    rows, columns = [], []
    for axis in (0, 1):
        here, there = number, np.roll(number, -1, axis)
        pair = (here >= 0) & (there >= 0)
        rows += [here[pair], there[pair]]
        columns += [there[pair], here[pair]]
    links = sparse.coo_array(
        (np.full(sum(map(len, rows)), -1.0), (np.concatenate(rows), np.concatenate(columns))),
        shape=(count, count),
    )
    diagonal = 4.0 + OUTSIDE_STIFFNESS * (1.0 - inside[active])
    height = np.zeros(alpha.shape)
    system = (links + sparse.diags_array(diagonal)).tocsc()
    height[active] = spsolve(system, LOAD * inside[active], use_umfpack=False)
    return height


def orient_outwards(points: npt.NDArray[np.float32], faces: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Turn all faces round where the volume that they enclose is negative."""
    a, b, c = (points[faces[:, i]].astype(np.float64) for i in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum()
    return np.ascontiguousarray(faces[:, ::-1]) if volume < 0 else faces


def simplify(
    points: npt.NDArray[np.float32], faces: npt.NDArray[np.int32], target_faces: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Collapse edges (quadric error, meshoptimizer) until about `target_faces` are left."""
    if len(faces) <= target_faces:
        return points, faces
    import meshoptimizer

    points = np.ascontiguousarray(points, np.float32)
    indices = np.ascontiguousarray(faces, np.uint32).reshape(-1)
    kept = np.empty(indices.size, np.uint32)
    count = meshoptimizer.simplify(
        kept, indices, points, target_index_count=3 * target_faces, target_error=1.0
    )
    used, renumbered = np.unique(kept[:count], return_inverse=True)
    return points[used], renumbered.reshape(-1, 3).astype(np.int32)
