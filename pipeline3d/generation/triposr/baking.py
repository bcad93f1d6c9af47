"""A texture instead of colours at vertices: fewer faces, an atlas, colours asked of the field for each texel.

The atlas is xatlas's (Young; MIT licence), which takes seconds for 20,000 faces and half a minute for
100,000: so the surface is simplified first. Colours come from the field at the place of each texel on the
simplified surface, and are pushed outwards beyond the charts (pull-push), so that no seam shows.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline3d.generation.inflation.atlas import encode_jpeg, push_colours_outwards
from pipeline3d.generation.inflation.body import compact, cut_off_flaps
from pipeline3d.generation.triposr.field import Field
from pipeline3d.generation.triposr.installed import packages_needed
from pipeline3d.generation.triposr.memory import is_out_of_memory, out_of_memory
from pipeline3d.generation.triposr.meshes import (
    BakedMesh,
    ExtractedMesh,
    Points,
    Triangles,
    turn_back,
    vertex_normals,
)
from pipeline3d.generation.triposr.scene import SceneCode
from pipeline3d.generation.triposr.threads import chunk_workers

LEAST_SIDE, MOST_SIDE = 64, 4096
LEAST_FACES, MOST_FACES = 100, 100_000
SPARE_FACES = 1.25
"""So much more than asked for is accepted before pieces are left out."""
CHART_GAP_PX = 2
"""Between charts, so that bilinear filtering at a seam sees pushed colours and not the neighbour's."""
MOST_CANDIDATES = 1_000_000
"""Texels looked at together: about 100 bytes are held for each."""
EDGE_SLACK = 1e-6
"""Barycentric; a texel exactly on an edge belongs to both faces."""


def bake(
    scene: SceneCode, mesh: ExtractedMesh, *, texture_resolution: int, max_faces: int = 20_000
) -> BakedMesh:
    """The mesh with at most about `max_faces` (100 to 100,000) and a JPEG of `texture_resolution` squared.

    Raises `ValueError` for a number out of range, `TransientFailure` (`out_of_memory`), `ModelNotReady`
    (`package_missing`) without xatlas.
    """
    if not LEAST_SIDE <= texture_resolution <= MOST_SIDE:
        raise ValueError(f"texture_resolution {texture_resolution} is outside {LEAST_SIDE} to {MOST_SIDE}")
    if not LEAST_FACES <= max_faces <= MOST_FACES:
        raise ValueError(f"max_faces {max_faces} is outside {LEAST_FACES} to {MOST_FACES}")
    try:
        with torch.inference_mode(), chunk_workers() as workers:
            return _bake(Field(scene, workers), scene, mesh, texture_resolution, max_faces)
    except (MemoryError, RuntimeError) as failure:
        if is_out_of_memory(failure):
            raise out_of_memory(failure, torch.device("cpu"), "baking the texture") from failure
        raise


def _bake(field: Field, scene: SceneCode, mesh: ExtractedMesh, side: int, max_faces: int) -> BakedMesh:
    vertices, faces = simplify(mesh.vertices, mesh.faces, max_faces)
    normals = vertex_normals(vertices, faces)
    source, split, uvs = unwrap(vertices, faces, normals, side)
    corners = vertices[faces]
    face, weights, texels = raster(uvs[split] * side, side)
    places = np.einsum("kc,kcd->kd", weights, corners[face])
    colours = field.colours_at(turn_back(places) / np.float32(scene.radius))
    painted, covered = np.zeros((side, side, 3), np.float32), np.zeros((side, side), np.float32)
    painted.reshape(-1, 3)[texels] = 255 * colours
    covered.reshape(-1)[texels] = 1
    pixels = np.clip(np.rint(push_colours_outwards(painted, covered)), 0, 255).astype(np.uint8)
    return BakedMesh(
        vertices=vertices[source],
        faces=split,
        normals=normals[source],
        uvs=uvs,
        texture=encode_jpeg(pixels),
        texture_mime_type="image/jpeg",
        texture_side=side,
    )


def simplify(vertices: Points, faces: Triangles, max_faces: int) -> tuple[Points, Triangles]:
    """Collapse edges (quadric error, Garland and Heckbert 1997) to about `max_faces`.

    A surface in many crumbs cannot shrink that way: then the smallest are left out.
    """
    if len(faces) <= max_faces:
        return vertices, faces
    meshoptimizer: Any = importlib.import_module("meshoptimizer")  # has no types
    points = np.ascontiguousarray(vertices, np.float32)
    indices = np.ascontiguousarray(faces, np.uint32).reshape(-1)
    kept = np.empty(indices.size, np.uint32)
    count = meshoptimizer.simplify(kept, indices, points, target_index_count=3 * max_faces, target_error=1.0)
    fewer = cut_off_flaps(kept[:count].reshape(-1, 3).astype(np.int32))
    if not len(fewer):  # nothing but crumbs, and each collapsed to a flap
        fewer = keep_largest_pieces(faces, len(points), max_faces)
    elif len(fewer) > SPARE_FACES * max_faces:
        fewer = keep_largest_pieces(fewer, len(points), max_faces)
    return compact(points, fewer)


def keep_largest_pieces(faces: Triangles, points: int, max_faces: int) -> Triangles:
    """Faces of the largest connected pieces, together at most `max_faces`; at least one piece."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = faces[:, :2].reshape(-1), faces[:, 1:].reshape(-1)
    links = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(points, points))
    _, piece = connected_components(links, directed=False)
    piece_of_face = piece[faces[:, 0]]
    sizes = np.bincount(piece_of_face)
    order = np.argsort(-sizes, kind="stable")
    fits = np.cumsum(sizes[order]) <= max_faces
    fits[0] = True
    return np.asarray(faces[np.isin(piece_of_face, order[fits])], np.int32)


def unwrap(
    vertices: Points, faces: Triangles, normals: Points, side: int
) -> tuple[npt.NDArray[np.int64], Triangles, Points]:
    """Source vertex of each new vertex, faces over the new ones in the old order, uvs (n,2) 0 to 1."""
    with packages_needed():
        xatlas: Any = importlib.import_module("xatlas")
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces.astype(np.uint32), normals)
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    pack.resolution, pack.padding, pack.bilinear = side, CHART_GAP_PX, True
    atlas.generate(chart_options=charts, pack_options=pack, verbose=False)
    source, split, uvs = atlas.get_mesh(0)
    return (
        np.asarray(source, np.int64),
        np.ascontiguousarray(split, np.int32),
        np.clip(np.asarray(uvs, np.float32), 0, 1),
    )


def raster(
    corners: npt.NDArray[np.float32], side: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Face (k), barycentric weights (k,3) and flat index (k) of the texels whose centres faces cover.

    corners (m,3,2) in pixels. Many faces are walked together: the texels of their bounding boxes are looked
    at, and those outside of an edge are dropped.
    """
    boxes = np.ceil(corners.max(axis=1) - corners.min(axis=1) + 1).prod(axis=1)
    block = (np.cumsum(boxes) // MOST_CANDIDATES).astype(np.int64)
    ends = np.flatnonzero(np.diff(block, append=block[-1:] + 1)) + 1
    found = []
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        face, weights, texels = _raster_block(corners[begin:end], side)
        found.append((face + begin, weights, texels))
    faces, all_weights, all_texels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return faces, all_weights, all_texels


def _raster_block(
    corners: npt.NDArray[np.float32], side: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, side).astype(np.int64)
    high = np.clip(np.floor(corners.max(axis=1) - 0.5) + 1, 0, side).astype(np.int64)
    face, row = _expand(low[:, 1], high[:, 1])
    span_face, column = _expand(low[face, 0], high[face, 0])
    face, row = face[span_face], row[span_face]
    a, b, c = (corners[:, index].astype(np.float64) for index in range(3))
    edge_b, edge_c = b - a, c - a
    area = edge_b[:, 0] * edge_c[:, 1] - edge_b[:, 1] * edge_c[:, 0]
    inverse = np.divide(1, area, out=np.zeros_like(area), where=np.abs(area) > 0)
    across, down = column + 0.5 - a[face, 0], row + 0.5 - a[face, 1]
    second = (across * edge_c[face, 1] - down * edge_c[face, 0]) * inverse[face]
    third = (down * edge_b[face, 0] - across * edge_b[face, 1]) * inverse[face]
    weights = np.stack([1 - second - third, second, third], axis=1)
    inside = (weights >= -EDGE_SLACK).all(axis=1) & (area[face] != 0)
    return face[inside], weights[inside].astype(np.float32), (row * side + column)[inside]


def _expand(
    begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number of the range, and the integers of it, for each of the ranges begin to end (exclusive)."""
    lengths = np.maximum(end - begin, 0)
    owner = np.repeat(np.arange(len(begin)), lengths)
    before = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner)) - before[owner] + begin[owner]
