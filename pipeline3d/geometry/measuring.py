"""What a mesh is, in numbers. Topology is judged after welding by position, since seams split vertices."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.face_directions import face_directions
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.topology import (
    EdgeUses,
    Ids,
    connect,
    count_edge_uses,
    count_pinched_points,
    face_keys,
    weld,
)

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFacts:
    """Counts, sizes in the mesh's own unit (metres in what is delivered), and topology of the welded surface.

    `euler_number` is V - E + F; a closed surface of one piece with g handles has 2 - 2g. `genus` counts the
    handles of all pieces, None where the surface is no consistently wound manifold. `holes` counts connected
    rims. `non_manifold_edges` have more than two faces; `pinched_points` join fans of faces that share no
    edge (0 where there are non-manifold edges or faces wound differently). `degenerate_faces` have no area,
    `duplicate_faces` repeat the three points of another. `texel_density` is texture pixels per unit length.
    `thinnest_m` is `thickness.measure_thinnest`'s, None where nobody asked. `measure` sets all others.
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
    parts: int = 1
    genus: int | None = None
    boundary_edges: int = 0
    holes: int = 0
    non_manifold_edges: int = 0
    pinched_points: int = 0
    duplicate_faces: int = 0
    texel_density: float | None = None
    thinnest_m: float | None = None


def measure(mesh: TexturedMesh | Model) -> MeshFacts:
    """All facts of a mesh or a model with at least one vertex and finite coordinates."""
    parts = mesh.parts if isinstance(mesh, Model) else (mesh,)
    surface = parts[0] if len(parts) == 1 else Model(parts=parts).surface()
    points = weld(surface.vertices)
    faces = points.labels[surface.faces] if len(surface.faces) else np.zeros((0, 3), np.int32)
    edges = count_edge_uses(faces, points.count)
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    crosses, volume = _face_vectors(surface)
    areas = np.sqrt(np.einsum("ij,ij->i", crosses, crosses)) / 2
    used = np.bincount(faces.reshape(-1), minlength=points.count) > 0
    components = _count_components(faces, used)
    holes = _count_rims(edges)
    watertight = bool(len(edges.uses) and (edges.uses == 2).all())
    consistent = bool(len(edges.uses) and (edges.balance[edges.uses == 2] == 0).all())
    non_manifold = int((edges.uses > 2).sum())
    pinched = count_pinched_points(faces, points.count) if consistent and not non_manifold else 0
    euler = int(used.sum()) - len(edges.uses) + len(faces)
    return MeshFacts(
        vertices=len(surface.vertices),
        faces=len(faces),
        bounds=(_triple(low), _triple(high)),
        extents=_triple(high.astype(np.float64) - low),
        area=float(areas.sum()),
        volume=volume,
        watertight=watertight,
        winding_consistent=consistent,
        components=components,
        euler_number=euler,
        degenerate_faces=int((areas <= 0).sum()),
        parts=len(parts),
        genus=_genus(components, holes, euler) if consistent and not (non_manifold or pinched) else None,
        boundary_edges=int((edges.uses == 1).sum()),
        holes=holes,
        non_manifold_edges=non_manifold,
        pinched_points=pinched,
        duplicate_faces=_count_duplicates(faces, points.count),
        texel_density=measure_texel_density(parts, areas),
    )


def _face_vectors(surface: TexturedMesh) -> tuple[Doubles, float]:
    """Each face's normal times twice its area (m,3), and the volume within, by tetrahedra over the origin."""
    crosses = face_directions(surface.vertices, surface.faces)
    first = surface.vertices[surface.faces[:, 0]].astype(np.float64)
    return crosses, float(np.einsum("ij,ij->", first, crosses) / 6)


def _count_components(faces: Ids, used: npt.NDArray[np.bool_]) -> int:
    if not len(faces):
        return 0
    found, _ = connect(len(used), faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1))
    return found - int(len(used) - used.sum())


def _count_rims(edges: EdgeUses) -> int:
    one, other = edges.ends(edges.uses == 1)
    if not len(one):
        return 0
    points, inverse = np.unique(np.concatenate([one, other]), return_inverse=True)
    numbers = inverse.astype(np.int32)
    found, _ = connect(len(points), numbers[: len(one)], numbers[len(one) :])
    return found


def _count_duplicates(faces: Ids, point_count: int) -> int:
    keys = face_keys(faces, point_count)
    keys.sort()
    return int((keys[1:] == keys[:-1]).sum())


def _genus(components: int, holes: int, euler: int) -> int | None:
    """From V - E + F = 2 c - 2 g - b, None where that gives none."""
    doubled = 2 * components - holes - euler
    return doubled // 2 if doubled >= 0 and doubled % 2 == 0 else None


def measure_texel_density(parts: tuple[TexturedMesh, ...], areas: Doubles) -> float | None:
    """Texture pixels per unit length over all textured faces; None where no part has a texture and UVs."""
    texels, area, start = 0.0, 0.0, 0
    for part in parts:
        own = areas[start : start + len(part.faces)]
        start += len(part.faces)
        size = _picture_size(part.texture)
        if part.uvs is None or size is None or not len(part.faces):
            continue
        corners = part.uvs.astype(np.float64)[part.faces]
        one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        shares = np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2
        texels += float(shares.sum()) * size[0] * size[1]
        area += float(own.sum())
    return float(np.sqrt(texels / area)) if area > 0 and np.isfinite(texels) else None


def _picture_size(data: bytes | None) -> tuple[int, int] | None:
    """Width and height from the header alone; None where there is no picture, or one that cannot be read."""
    if not data:
        return None
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _triple(values: npt.NDArray[np.floating]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
