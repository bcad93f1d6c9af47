"""The rounded body of a silhouette: solve for a height field, take the surface that it encloses.

The height is the root of the solution of a screened Poisson equation over the silhouette, as in
"Repoussé" (Joshi and Carr 2008) and "Monster Mash" (Dvorožňák et al. 2020): smooth, linear, and with
the topology of the mask, so that a handle's hole becomes a hole. The surface is the zero level of
H(x, y) - eps - z², which crosses the rim smoothly where two height fields glued together would crease.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]
Triangles = npt.NDArray[np.int32]

MARGIN_CELLS = 4
OUTSIDE_STIFFNESS = 8.0
"""How hard the height is held down per unit of transparency: soft edges move the rim by part of a cell."""
LOAD = 3.0
"""Right-hand side of the equation: makes a strip about as thick as it is wide."""
LEAST_DISTANCE = 0.02
"""Samples closer to the level than this are moved away from it: the corners that marching cubes puts on
the edges around such a sample would be one and the same 32-bit float, and weld to a hole."""
SILHOUETTE_BLUR = 0.6
"""Cells; takes the stairs off a silhouette of few pixels."""
CRUMB_SHARE = 0.01


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
    field[near] = np.copysign(LEAST_DISTANCE, field[near])
    vertices, faces = find_level(field)
    points = np.stack([vertices[:, 1], cells - 1 - vertices[:, 0], vertices[:, 2] - half], axis=1)
    points, faces = keep_solid_parts(points, faces)
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


def find_level(field: Points) -> tuple[Points, Triangles]:
    """The closed surface on which a field (i,j,k) is zero (marching cubes, Lewiner et al. 2003)."""
    from skimage import measure

    extract: Any = measure.marching_cubes  # scikit-image has no types here
    corners, triangles, _, _ = extract(field, 0.0, gradient_direction="ascent")
    return np.asarray(corners, np.float32), np.asarray(triangles, np.int32)


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


def keep_solid_parts(points: Points, faces: Triangles) -> tuple[Points, Triangles]:
    """Without crumbs: pieces of the surface with less than a hundredth of the largest piece's faces."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = faces[:, :2].reshape(-1), faces[:, 1:].reshape(-1)
    links = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(points), len(points)))
    count, piece = connected_components(links, directed=False)
    if count == 1:
        return points, faces
    sizes = np.bincount(piece[faces[:, 0]], minlength=count)
    kept = faces[sizes[piece[faces[:, 0]]] >= CRUMB_SHARE * sizes.max()]
    return compact(points, kept)


def compact(points: Points, faces: Triangles) -> tuple[Points, Triangles]:
    """Without the points that no face uses."""
    used = np.zeros(len(points), bool)
    used[faces.reshape(-1)] = True
    renumbered = (np.cumsum(used) - 1).astype(np.int32)
    return points[used], renumbered[faces]


def is_closed(faces: Triangles) -> bool:
    """Whether every edge is used once in each direction: closed, and all faces turned the same way."""
    start, end = faces.astype(np.int64).reshape(-1), faces[:, [1, 2, 0]].astype(np.int64).reshape(-1)
    count = int(faces.max(initial=0)) + 1
    forward, backward = np.sort(start * count + end), np.sort(end * count + start)
    return bool(np.array_equal(forward, backward) and (np.diff(forward) > 0).all())


def simplify(points: Points, faces: Triangles, target_faces: int) -> tuple[Points, Triangles]:
    """Collapse edges (quadric error, Garland and Heckbert 1997) until about `target_faces` are left.

    Collapsing now and then leaves a flap of two faces back to back; it is cut off. A result that is not
    closed even then is thrown away: the full surface is larger, and right.
    """
    if len(faces) <= target_faces:
        return points, faces
    import meshoptimizer

    points = np.ascontiguousarray(points, np.float32)
    indices = np.ascontiguousarray(faces, np.uint32).reshape(-1)
    kept = np.empty(indices.size, np.uint32)
    count = meshoptimizer.simplify(
        kept, indices, points, target_index_count=3 * target_faces, target_error=1.0
    )
    fewer = kept[:count].reshape(-1, 3).astype(np.int32)
    if not is_closed(fewer):
        fewer = cut_off_flaps(fewer)
    return compact(points, fewer) if is_closed(fewer) else (points, faces)


def cut_off_flaps(faces: Triangles) -> Triangles:
    """Without faces that share all three corners with another: two of them enclose nothing."""
    _, group, count = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(faces[count[group.reshape(-1)] == 1], np.int32)
