"""What a mesh is, in numbers. Topology is judged after welding by position, since seams split vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.mesh import TexturedMesh


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFacts:
    """Counts, sizes in the mesh's own unit, and topology of the welded surface.

    `euler_number` is V - E + F; a closed surface of one piece with g handles has 2 - 2g.
    `degenerate_faces` have no area.
    """

    vertices: int
    faces: int
    bounds: tuple[tuple[float, float, float], tuple[float, float, float]]
    extents: tuple[float, float, float]
    area: float
    volume: float
    watertight: bool
    winding_consistent: bool
    components: int
    euler_number: int
    degenerate_faces: int


def measure(mesh: TexturedMesh) -> MeshFacts:
    """All facts of a mesh with at least one vertex and finite coordinates."""
    positions = mesh.vertices.astype(np.float64)
    welded, inverse = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = inverse.reshape(-1)[mesh.faces] if len(mesh.faces) else mesh.faces.astype(np.int64)
    low, high = positions.min(axis=0), positions.max(axis=0)
    corners = positions[mesh.faces]
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(crosses, axis=1) / 2
    edges, directions = _edges(faces)
    uses = np.bincount(edges) if len(edges) else np.zeros(0, dtype=np.int64)
    balance = np.bincount(edges, weights=directions) if len(edges) else np.zeros(0)
    return MeshFacts(
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        bounds=(_triple(low), _triple(high)),
        extents=_triple(high - low),
        area=float(areas.sum()),
        volume=float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6),
        watertight=bool(len(uses) and (uses == 2).all()),
        winding_consistent=bool(len(uses) and (balance[uses == 2] == 0).all()),
        components=_count_components(faces, len(welded)),
        euler_number=len(np.unique(faces)) - len(uses) + len(faces),
        degenerate_faces=int((areas <= 0).sum()),
    )


def _edges(faces: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The number of each half edge's undirected edge, and +1 or -1 for the way in which it runs."""
    half = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    low, high = half.min(axis=1), half.max(axis=1)
    _, numbers = np.unique(low * (int(faces.max(initial=0)) + 1) + high, return_inverse=True)
    return numbers.reshape(-1), np.where(half[:, 0] < half[:, 1], 1, -1)


def _count_components(faces: npt.NDArray[np.int64], vertex_count: int) -> int:
    if not len(faces):
        return 0
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1)
    graph = coo_array(
        (np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(vertex_count, vertex_count)
    )
    _, labels = connected_components(graph, directed=False)
    return len(np.unique(labels[np.unique(faces)]))


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
