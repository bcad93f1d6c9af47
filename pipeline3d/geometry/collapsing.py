"""Edge collapse by native libraries, behind checks: nothing goes in that could make them read out of bounds.

meshoptimizer (Kapoulkine; MIT) is called through its shared library: the Python binding of
simplifyWithAttributes declares no argument types, so that it cannot pass the error as a float. The second
library is fast-simplification (Kaszynski; MIT; quadric error, Garland and Heckbert 1997): it takes any
triangles, where manifold3d refuses what is not a manifold, and has a target count, where manifold3d has a
tolerance only. It knows positions alone.
"""

from __future__ import annotations

import ctypes
import importlib
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.signedinteger]

FURTHEST_ERROR = 1.0
"""Of the largest extent: in effect no limit."""
MOST_ATTRIBUTES = 32
"""What meshoptimizer takes."""
MOST_VERTICES = 2**31 - 1
ERROR_ABSOLUTE = 1 << 2
"""meshopt_SimplifyErrorAbsolute."""


def collapse_edges(
    vertices: Floats,
    faces: Integers,
    attributes: Floats,
    weights: Floats,
    *,
    target_faces: int,
    max_error: float = FURTHEST_ERROR,
    locked: npt.NDArray[np.bool_] | None = None,
) -> tuple[Integers, float]:
    """meshoptimizer: faces (k,3) over the same vertices, and its estimate of the error.

    vertices (n,3) should lie within a box of about 1; vertices at the same place are a seam, which stays
    closed. attributes (n,a) weigh in the error by weights (a). Vertices that are locked (n) stay. Errors are
    in the unit of the vertices.
    """
    _require_triangles(vertices, faces)
    if attributes.shape != (len(vertices), len(weights)) or len(weights) > MOST_ATTRIBUTES:
        raise ValueError(f"attributes {attributes.shape} and weights {weights.shape} do not fit the vertices")
    if not (np.isfinite(attributes).all() and np.isfinite(weights).all()):
        raise ValueError("attributes and weights must be finite")
    if locked is not None and locked.shape != (len(vertices),):
        raise ValueError(f"locks {locked.shape} do not fit {len(vertices)} vertices")
    locks = None if locked is None else np.ascontiguousarray(locked, np.uint8)
    places = np.ascontiguousarray(vertices, np.float32)
    indices = np.ascontiguousarray(faces, np.uint32).reshape(-1)
    values = np.ascontiguousarray(attributes, np.float32)
    factors = np.ascontiguousarray(weights, np.float32)
    kept = np.empty(indices.size, np.uint32)
    error = np.zeros(1, np.float32)
    count = _simplify_with_attributes()(
        kept.ctypes.data,
        indices.ctypes.data,
        indices.size,
        places.ctypes.data,
        len(places),
        places.strides[0],
        values.ctypes.data if len(factors) else None,
        values.itemsize * len(factors),
        factors.ctypes.data if len(factors) else None,
        len(factors),
        None if locks is None else locks.ctypes.data,
        3 * target_faces,
        max_error,
        ERROR_ABSOLUTE,
        error.ctypes.data,
    )
    if not 0 <= count <= kept.size or count % 3:
        raise ValueError(f"meshoptimizer answered {count} indices for {kept.size}")
    return kept[:count].reshape(-1, 3).astype(np.int64), float(error[0])


def collapse_freely(vertices: Floats, faces: Integers, *, target_faces: int) -> tuple[Floats, Integers]:
    """fast-simplification: new vertices (v,3) and faces (k,3), wherever they fit best. Positions only."""
    _require_triangles(vertices, faces)
    library: Any = importlib.import_module("fast_simplification")  # has no types
    points, found = library.simplify(
        np.ascontiguousarray(vertices, np.float32),
        np.ascontiguousarray(faces, np.int32),
        target_count=int(target_faces),
    )
    return np.asarray(points, np.float32), np.asarray(found, np.int64).reshape(-1, 3)


def order_for_drawing(faces: Integers, vertex_count: int) -> tuple[Integers, Integers]:
    """Number of the old vertex for each new one, and faces over those, in an order that caches like.

    Vertices without a face are left out. The corners of a face keep their turn, not their start.
    """
    if not len(faces):
        return np.zeros(0, np.int64), faces
    if faces.min() < 0 or faces.max() >= vertex_count:
        raise ValueError(f"faces point outside of {vertex_count} vertices")
    is_used = np.zeros(vertex_count, bool)
    is_used[faces.reshape(-1)] = True
    used = np.flatnonzero(is_used)
    numbers = np.zeros(vertex_count, np.uint32)
    numbers[used] = np.arange(len(used), dtype=np.uint32)
    indices = numbers[faces.reshape(-1)]
    meshoptimizer: Any = importlib.import_module("meshoptimizer")  # has no types
    cached = np.empty_like(indices)
    meshoptimizer.optimize_vertex_cache(
        destination=cached, indices=indices, index_count=indices.size, vertex_count=len(used)
    )
    remap = np.empty(len(used), np.uint32)
    count = meshoptimizer.optimize_vertex_fetch_remap(
        destination=remap, indices=cached, index_count=cached.size, vertex_count=len(used)
    )
    if count != len(used) or not (np.bincount(remap, minlength=count) == 1).all():
        return used, indices.reshape(-1, 3).astype(np.int64)
    source = np.empty(len(used), np.int64)
    source[remap] = used
    return source, remap[cached].reshape(-1, 3).astype(np.int64)


@cache
def _simplify_with_attributes() -> Any:
    loader: Any = importlib.import_module("meshoptimizer._loader")
    function = ctypes.CDLL(loader.lib_path).meshopt_simplifyWithAttributes  # a handle of our own
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    function.argtypes = [pointer, pointer, size, pointer, size, size, pointer, size, pointer, size, pointer]
    function.argtypes += [size, ctypes.c_float, ctypes.c_uint, pointer]
    function.restype = size
    return function


def _require_triangles(vertices: Floats, faces: Integers) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not 0 < len(vertices) <= MOST_VERTICES:
        raise ValueError(f"vertices of shape {vertices.shape} are not (n,3)")
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        raise ValueError(f"faces of shape {faces.shape} are not (m,3)")
    if faces.dtype.kind not in "iu" or faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"faces point outside of {len(vertices)} vertices")
    if not np.isfinite(vertices).all():
        raise ValueError("vertices must be finite")
