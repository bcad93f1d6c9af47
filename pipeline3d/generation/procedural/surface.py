"""From parts to a closed, coloured mesh: sample the distances, take the zero level, colour, simplify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.generation.inflation.body import compact, cut_off_flaps, find_level, is_closed
from pipeline3d.generation.procedural.colours import to_linear_rgba
from pipeline3d.generation.procedural.parts import Colour, Part
from pipeline3d.generation.procedural.pinches import split_double_edges

Floats = npt.NDArray[np.float32]
Triangles = npt.NDArray[np.int32]

MARGIN_CELLS = 3
"""Free cells around the object: a surface that met the lattice's end would be open there."""
LEAST_DISTANCE = 0.02
"""Cells; samples closer to the surface are moved away from it, or corners around them would coincide."""
SIMPLIFY_SLACK = (1.0, 0.9, 1.2, 1.6, 2.4)
"""Multiples of the wanted number of faces, tried until the result is closed."""
FINEST_RATIO = 1.7
"""How much finer a flat or long object is sampled than a cube, at most."""
LEAST_CELLS = 3.0
"""Pieces of less volume, in cells, are slivers of something too thin for the lattice."""
LATTICE_SHIFTS = (0.37, 0.61, 0.13, 0.83)
"""Offsets of the lattice, in cells, tried one after the other until the surface is closed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shell:
    """A closed surface: vertices (n,3) float32, faces (m,3) int32 counter-clockwise, colours (n,4) uint8."""

    vertices: Floats
    faces: Triangles
    colours: npt.NDArray[np.uint8]


def mesh_parts(parts: Sequence[Part], palette: Mapping[str, Colour], points: int) -> Shell:
    """The surface of all parts together, sampled at about `points` places of a regular lattice.

    `palette` gives the roles their colours. Raises `BrokenModelOutput` (`open_surface`) where no offset of
    the lattice gives a closed surface.
    """
    bodies = [part for part in parts if not part.paint]
    low = np.array([part.solid.low for part in bodies]).min(axis=0)
    high = np.array([part.solid.high for part in bodies]).max(axis=0)
    extent = np.maximum(high - low, 1e-6)
    cell = float(max(np.cbrt(extent.prod() / points), extent.max() / (FINEST_RATIO * np.cbrt(points))))
    for shift in LATTICE_SHIFTS:
        start = low - (MARGIN_CELLS + shift) * cell
        counts = np.ceil((high - start) / cell).astype(int) + MARGIN_CELLS + 1
        axes = [(start[i] + cell * np.arange(counts[i])).astype(np.float32) for i in range(3)]
        corners, faces = find_level(-sample(bodies, axes, cell))
        if len(faces) and is_closed(faces):
            corners, faces = drop_voids_and_slivers(corners, faces)
            vertices = (corners * np.float32(cell) + start).astype(np.float32)
            return Shell(vertices=vertices, faces=faces, colours=colour_vertices(parts, vertices, palette))
    raise BrokenModelOutput("The surface of a procedural model is not closed.", code="open_surface")


def sample(parts: Sequence[Part], axes: Sequence[Floats], cell: float) -> Floats:
    """Distances in cells on the lattice (i,j,k), each part evaluated only around its own box."""
    field = np.full([len(axis) for axis in axes], MARGIN_CELLS, np.float32)
    for solid in (piece for part in parts for piece in (part.solid.pieces or (part.solid,))):
        ranges = [
            slice(
                max(0, int(np.searchsorted(axes[i], solid.low[i] - 2 * cell)) - 1),
                int(np.searchsorted(axes[i], solid.high[i] + 2 * cell)) + 1,
            )
            for i in range(3)
        ]
        x, y, z = (axes[i][ranges[i]] for i in range(3))
        distance = solid.distance(x[:, None, None], y[None, :, None], z[None, None, :])
        block = field[ranges[0], ranges[1], ranges[2]]
        np.minimum(block, distance / np.float32(cell), out=block)
    near = np.abs(field) < LEAST_DISTANCE
    field[near] = np.copysign(np.float32(LEAST_DISTANCE), field[near])
    return field


def drop_voids_and_slivers(corners: Floats, faces: Triangles) -> tuple[Floats, Triangles]:
    """Without the walls of sealed hollows, that nobody sees, and without pieces smaller than a few cells.

    A hollow below the coffee in a mug is one: what stays is solid. The lattice's unit is one cell.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = faces[:, :2].reshape(-1), faces[:, 1:].reshape(-1)
    links = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(corners), len(corners)))
    count, piece = connected_components(links, directed=False)
    if count == 1:
        return corners, faces
    a, b, c = (corners[faces[:, i]].astype(np.float64) for i in range(3))
    volumes = np.bincount(piece[faces[:, 0]], np.einsum("ij,ij->i", a, np.cross(b, c)) / 6, minlength=count)
    return compact(corners, faces[volumes[piece[faces[:, 0]]] > LEAST_CELLS])


def colour_vertices(
    parts: Sequence[Part], vertices: Floats, palette: Mapping[str, Colour]
) -> npt.NDArray[np.uint8]:
    """Linear RGBA (n,4): the colour of the nearest body, under the last paint that covers the place."""
    nearest = np.full(len(vertices), np.inf, np.float32)
    chosen = np.zeros(len(vertices), np.int64)
    reach = np.float32(np.ptp(vertices, axis=0).max() * 0.03)
    x, y, z = vertices.T
    for number, part in enumerate(parts):
        low, high = np.array(part.solid.low) - reach, np.array(part.solid.high) + reach
        around = ((vertices >= low) & (vertices <= high)).all(axis=1)
        distance = part.solid.distance(x[around], y[around], z[around])
        place = np.flatnonzero(around)
        better = distance < 0 if part.paint else distance < nearest[place]
        chosen[place[better]] = number
        if not part.paint:
            nearest[place[better]] = distance[better]
    colours = [palette[part.colour] if isinstance(part.colour, str) else part.colour for part in parts]
    return to_linear_rgba(np.array(colours, np.uint8))[chosen]


def simplify(shell: Shell, target_faces: int) -> Shell:
    """Collapse edges until about `target_faces` are left, and keep the borders between colours narrow.

    Faces of one colour, and the faces that lead from one colour to the next, are made patches of their own
    by splitting the vertices between them: the simplifier then moves such a seam only along itself. The
    vertices are welded again afterwards. Edges that sheets share then are split; where the result is not
    closed even so, other numbers of faces are tried, and in the end the full surface is larger, and right.
    """
    if len(shell.faces) <= target_faces:
        return shell
    patch = _colour_patches(shell)
    for slack in SIMPLIFY_SLACK:
        faces = _collapse(shell, patch, min(len(shell.faces), int(slack * target_faces)))
        vertices, source = shell.vertices, np.arange(len(shell.vertices))
        if not is_closed(faces):
            vertices, faces, source = split_double_edges(vertices, faces)
        if len(faces) and is_closed(faces):
            colours = shell.colours[source[np.unique(faces)]]
            vertices, faces = compact(vertices, faces)
            return Shell(vertices=vertices, faces=faces, colours=colours)
    return shell


def _collapse(shell: Shell, patch: npt.NDArray[np.int64], target_faces: int) -> Triangles:
    """Fewer faces, between the same vertices; the seams between patches stay."""
    import meshoptimizer

    patches = int(patch.max()) + 1
    split, corners = np.unique(shell.faces.astype(np.int64) * patches + patch[:, None], return_inverse=True)
    source = split // patches
    indices = np.ascontiguousarray(corners.reshape(-1), np.uint32)
    kept = np.empty(indices.size, np.uint32)
    count = meshoptimizer.simplify(
        kept,
        indices,
        np.ascontiguousarray(shell.vertices[source], np.float32),
        target_index_count=3 * target_faces,
        target_error=1.0,
    )
    fewer = np.asarray(source[kept[:count]].reshape(-1, 3), np.int32)
    return fewer if is_closed(fewer) else cut_off_flaps(fewer)


def _colour_patches(shell: Shell) -> npt.NDArray[np.int64]:
    """A number for each face (m,): that of its colour, or 0 where its corners differ."""
    packed = np.ascontiguousarray(shell.colours).view(np.uint32).reshape(-1)
    _, number = np.unique(packed, return_inverse=True)
    corners = number.reshape(-1)[shell.faces].astype(np.int64)
    plain = (corners[:, 0] == corners[:, 1]) & (corners[:, 0] == corners[:, 2])
    return np.where(plain, corners[:, 0] + 1, 0)
