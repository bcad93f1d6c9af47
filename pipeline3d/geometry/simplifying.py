"""Fewer faces for a model, with its seams, colours and parts kept, and what that cost in metres.

All parts are collapsed together: the faces are left where the shape needs them, and nothing opens where
parts or charts meet, since vertices at one place move as one. No border has to be locked for that.
What a library answers is checked before it is believed (`collapse_checks`); a broken or too large answer
goes to the next way. Each way knows less of the surface than the one before:

1. meshoptimizer with colours and texture coordinates in its error;
2. the same after merging vertices that only differ in their normals, for flat shaded surfaces, in which
   every corner is a seam; normals are made anew, with creases;
3. fast-simplification on the positions alone, colours asked of the original surface; not for models with
   pictures on them, whose texture coordinates it would lose (`baking.bake_detail` makes new ones).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.closest import Surface
from pipeline3d.geometry.collapse_checks import (
    Original,
    edges_of,
    find_damage,
    find_fork_rings,
    find_solid_faces,
    sum_directions,
)
from pipeline3d.geometry.collapsing import (
    FURTHEST_ERROR,
    collapse_edges,
    collapse_freely,
    order_for_drawing,
)
from pipeline3d.geometry.creases import add_normals
from pipeline3d.geometry.deviation import measure_deviation
from pipeline3d.geometry.joining import (
    Integers,
    Joined,
    attributes_of,
    join,
    merge_equal_vertices,
    take_vertices,
)
from pipeline3d.geometry.mesh import Model, TexturedMesh

FEWEST_FACES = 4
"""A tetrahedron."""
TOLERANCE = 1.05
"""So many times the target still counts as reached."""
MOST_REPAIRS = 4
"""Tries to keep two sheets apart that a collapse made touch at an edge."""
SPLIT_VERTICES = 1.0
"""Vertices for each face from which on equal ones are looked for; a closed surface has half as many."""
MOST_TRIES = 7
"""Within a limit of error; each takes about 0.3 s for 100,000 faces."""
NEAR_ENOUGH = 1.1
"""Ratio of face counts at which the search for the fewest within a limit ends."""

MESHOPTIMIZER, FAST_SIMPLIFICATION, UNCHANGED = "meshoptimizer", "fast-simplification", "none"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simplified:
    """A simplified model; `library` is `none` where it is the model that came.

    error_m is measured (sampled Hausdorff distance) if `measured`, else the library's own estimate, which is
    a mean around the worst collapse and smaller than the maximum. rejected says what other ways answered and
    why that was not taken.
    """

    model: Model
    error_m: float
    measured: bool
    library: str
    reached: bool
    rejected: tuple[str, ...] = ()


def simplify(
    model: Model, *, target_faces: int, max_error: float | None = None, joined: Joined | None = None
) -> Simplified:
    """About `target_faces` faces, or as few as can be had without moving more than `max_error` metres.

    joined: what `join` made of this model, where it is simplified more than once. Raises `InvalidParameters`
    for a target below 4 or an error that is not above 0, `UnusableInput` for a model whose arrays are broken.
    A model that cannot be made smaller comes back as it is, with `reached` False.
    """
    if target_faces < FEWEST_FACES:
        raise InvalidParameters(f"target_faces is {target_faces}; at least {FEWEST_FACES} are allowed")
    if max_error is not None and not (np.isfinite(max_error) and max_error > 0):
        raise InvalidParameters(f"max_error is {max_error}; a length in metres above 0 is allowed")
    joined = joined or join(model)
    if model.face_count <= target_faces:
        return Simplified(model=model, error_m=0.0, measured=True, library=UNCHANGED, reached=True)
    if max_error is None:
        return _simplify_freely(model, joined, target_faces)
    return _simplify_within(model, joined, target_faces, max_error)


def _simplify_freely(model: Model, joined: Joined, target_faces: int) -> Simplified:
    best: Simplified | None = None
    rejected: list[str] = []
    for way in _ways(model, joined, target_faces):
        if isinstance(way, str):
            rejected.append(way)
            continue
        if best is None or way.model.face_count < best.model.face_count:
            best = way
        if way.reached:
            break
        rejected.append(f"{way.library}: {way.model.face_count} faces of {target_faces} asked for")
    if best is None or best.model.face_count >= model.face_count:
        best = Simplified(model=model, error_m=0.0, measured=True, library=UNCHANGED, reached=False)
    return replace(best, rejected=tuple(rejected))


def _ways(model: Model, joined: Joined, target_faces: int) -> Iterator[Simplified | str]:
    """What each way makes of it, or why that is no use."""
    if model.vertex_count > SPLIT_VERTICES * model.face_count:
        model = merge_equal_vertices(model)
        joined = join(model)
    yield _collapse(model, joined, target_faces, FURTHEST_ERROR)
    if any(part.normals is not None for part in model.parts):
        smooth = merge_equal_vertices(Model(parts=tuple(replace(part, normals=None) for part in model.parts)))
        if smooth.vertex_count < model.vertex_count:
            found = _collapse(smooth, join(smooth), target_faces, FURTHEST_ERROR)
            yield found if isinstance(found, str) else replace(found, model=add_normals(found.model))
    if any(part.has_pictures for part in model.parts):
        yield f"{FAST_SIMPLIFICATION}: would lose the texture coordinates"
    elif find_spec("fast_simplification") is None:
        yield f"{FAST_SIMPLIFICATION}: is not installed"
    else:
        yield _collapse_positions(model, joined, target_faces)


def _simplify_within(model: Model, joined: Joined, target_faces: int, max_error: float) -> Simplified:
    """The library's limit is an estimate with a floor of about 1/1000 of the size (single precision).

    So what it makes is measured, and where that is too far away, more faces are asked for: by halving the
    logarithm of the range between the last answer that was too far and the last that was not.
    """
    source = Surface.of(model.surface())
    best = Simplified(model=model, error_m=0.0, measured=True, library=UNCHANGED, reached=False)
    rejected: list[str] = []
    target, too_few, enough = target_faces, target_faces, model.face_count
    for _ in range(MOST_TRIES):
        found = _collapse(model, joined, target, min(FURTHEST_ERROR, max_error / joined.scale))
        if isinstance(found, str):
            rejected.append(found)
            too_few = target
        else:
            faces = found.model.face_count
            maximum = measure_deviation(source, Surface.of(found.model.surface())).maximum_m
            if maximum <= max_error:
                if faces < best.model.face_count:
                    reached = faces <= TOLERANCE * target_faces
                    best = replace(found, error_m=maximum, measured=True, reached=reached)
                enough = faces
            else:
                rejected.append(f"{MESHOPTIMIZER}: {maximum:.3g} m away with {faces} faces")
                too_few = max(target, faces)
        if best.reached or enough <= NEAR_ENOUGH * too_few:
            break
        target = int(np.sqrt(float(too_few) * enough))
    return replace(best, rejected=tuple(rejected))


def _collapse(model: Model, joined: Joined, target_faces: int, max_error: float) -> Simplified | str:
    """By meshoptimizer; the vertices that stay are the model's own."""
    attributes, weights = attributes_of(model)
    locked: npt.NDArray[np.bool_] | None = None
    for _ in range(MOST_REPAIRS):
        with ThreadPoolExecutor(1) as beside:  # the library lets it run
            checks = beside.submit(joined.prepare_checks)
            faces, error = collapse_edges(
                joined.vertices,
                joined.faces,
                attributes,
                weights,
                target_faces=target_faces,
                max_error=max_error,
                locked=locked,
            )
        checks.result()
        original, labels = joined.original, joined.places.labels
        faces = faces[find_solid_faces(labels[faces], joined.places.count)]
        places = labels[faces]
        edges = edges_of(places, joined.places.count)
        rings = find_fork_rings(original, edges)
        if not rings.any() or original.bad_edges[1]:
            break
        locked = rings[labels] if locked is None else locked | rings[labels]
    damage = find_damage(original, original.points, places, edges=edges)
    if damage:
        return f"{MESHOPTIMIZER}: {damage}"
    return Simplified(
        model=_take_faces(model, joined, faces),
        error_m=error * joined.scale,
        measured=False,
        library=MESHOPTIMIZER,
        reached=len(faces) <= TOLERANCE * target_faces,
    )


def _take_faces(model: Model, joined: Joined, faces: Integers) -> Model:
    """Faces (k,3) over all vertices back in their parts; a part without any is left out."""
    begins = np.cumsum([0, *(len(part.vertices) for part in model.parts)])
    owner = joined.part[faces[:, 0]]
    parts = []
    for number, part in enumerate(model.parts):
        own = faces if len(model.parts) == 1 else faces[owner == number] - begins[number]
        if len(own):
            source, ordered = order_for_drawing(own, len(part.vertices))
            parts.append(take_vertices(part, source, ordered))
    return Model(parts=tuple(parts))


def _collapse_positions(model: Model, joined: Joined, target_faces: int) -> Simplified | str:
    """By fast-simplification; parts and colours are asked of the closest place of the original."""
    labels, first = joined.places.labels, joined.places.first
    original = Original(points=joined.vertices[first], faces=labels[joined.faces].astype(np.int64))
    points, faces = collapse_freely(
        original.points.astype(np.float32), original.faces, target_faces=target_faces
    )
    faces = faces[find_solid_faces(faces, len(points))] if len(faces) else faces
    if not len(faces) or not np.isfinite(points).all() or faces.max() >= len(points) or faces.min() < 0:
        return f"{FAST_SIMPLIFICATION}: no valid face is left"
    surface = Surface(corners=joined.vertices[joined.faces].astype(np.float64))
    middles = points[faces].mean(axis=1).astype(np.float64)
    nearest = surface.closest(middles).faces
    turned = np.einsum(
        "ij,ij->i", surface.directions[nearest], Surface(corners=points[faces].astype(np.float64)).directions
    )
    damage = find_damage(original, points, faces, flipped_share=float((turned < 0).mean()))
    if damage:
        return f"{FAST_SIMPLIFICATION}: {damage}"
    found = _dress(model, joined, surface, points, faces, joined.part[joined.faces[nearest, 0]])
    deviation = measure_deviation(Surface.of(model.surface()), Surface.of(found.surface()))
    return Simplified(
        model=found,
        error_m=deviation.maximum_m,
        measured=True,
        library=FAST_SIMPLIFICATION,
        reached=len(faces) <= TOLERANCE * target_faces,
    )


def _dress(
    model: Model, joined: Joined, surface: Surface, points: np.ndarray, faces: Integers, owner: Integers
) -> Model:
    """Parts again from points (p,3), faces (k,3) and each face's part (k)."""
    found = surface.closest(points.astype(np.float64))
    corners = joined.faces[found.faces]
    normals = sum_directions(points, faces)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    placed = (joined.origin + joined.scale * points.astype(np.float64)).astype(np.float32)
    colours = (
        np.concatenate(
            [
                np.full((len(part.vertices), 4), 255, np.uint8) if part.colours is None else part.colours
                for part in model.parts
            ]
        )
        if any(part.colours is not None for part in model.parts)
        else None
    )
    blended = (
        None
        if colours is None
        else np.rint(np.einsum("kc,kcd->kd", found.weights, colours[corners])).astype(np.uint8)
    )
    parts = []
    for number, part in enumerate(model.parts):
        own = faces[owner == number]
        if not len(own):
            continue
        source, ordered = order_for_drawing(own, len(points))
        parts.append(
            TexturedMesh(
                vertices=placed[source],
                faces=ordered.astype(np.int32),
                normals=None if part.normals is None else normals[source].astype(np.float32),
                colours=None if part.colours is None or blended is None else blended[source],
                material=part.material,
            )
        )
    return Model(parts=tuple(parts))
