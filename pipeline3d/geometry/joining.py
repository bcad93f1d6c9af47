"""All parts of a model as one mesh with attributes, and back: so that nothing opens where parts meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.collapse_checks import Original
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.topology import Points, number_rows, weld

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.signedinteger]

UV_WEIGHT = 0.5
"""Against positions in a box of 1; more costs time and shape, less lets the texture swim."""
COLOUR_WEIGHT = 0.25
"""Colours at vertices are all the detail that there is, so an edge in them is worth some shape."""
NORMAL_WEIGHT = 0.05
"""Only where there is neither: normals of a smooth surface say again what its shape says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Joined:
    """Vertices (n,3) of all parts after each other, moved and scaled into a box of 1; faces (m,3).

    part (n): the number of the part. A coordinate in the model's unit is `origin + scale * vertices`.
    The origin is the box's lowest corner, as meshoptimizer moves it there anyway: it rounds nothing again.
    placed (n,3): the vertices as they came; normals (n,3) only where all parts have some.
    """

    vertices: Floats
    faces: Integers
    part: Integers
    origin: npt.NDArray[np.float64]
    scale: float
    placed: Floats
    normals: Floats | None

    @cached_property
    def places(self) -> Points:
        """Vertices at the same place as one."""
        return weld(self.placed)

    @cached_property
    def original(self) -> Original:
        """The surface over its places, to which what is made of it is compared."""
        labels, first = self.places.labels, self.places.first
        return Original(
            points=self.vertices[first],
            faces=labels[self.faces],
            normals=None if self.normals is None else self.normals[first],
        )

    def prepare_checks(self) -> None:
        """Work out what every check asks for, so that it can be done beside the collapse."""
        self.original.prepare()


def join(model: Model) -> Joined:
    """One mesh of all parts. Raises `UnusableInput` (`broken_mesh`, `no_faces`) for what is not one."""
    for number, part in enumerate(model.parts):
        require_valid(part, number)
    if not model.face_count:
        raise UnusableInput("the model has no faces", code="no_faces", hint="Send a model with a surface.")
    surface = model.surface()
    used = np.zeros(len(surface.vertices), bool)
    used[surface.faces.reshape(-1)] = True  # a loose vertex far away must not cost the surface its precision
    columns = surface.vertices.T.astype(np.float64, order="C")  # work on rows of three is slow
    low = np.array([column[used].min() for column in columns])
    high = np.array([column[used].max() for column in columns])
    scale = float((high - low).max())
    if not scale > 0:
        scale = 1.0
    columns[:, ~used] = ((low + high) / 2)[:, None]
    normals = [part.normals for part in model.parts if part.normals is not None]
    return Joined(
        vertices=np.ascontiguousarray(((columns - low[:, None]) / scale).astype(np.float32).T),
        faces=surface.faces.astype(np.int64),
        placed=surface.vertices,
        normals=np.concatenate(normals) if len(normals) == len(model.parts) else None,
        part=np.repeat(np.arange(len(model.parts)), [len(part.vertices) for part in model.parts]),
        origin=low,
        scale=scale,
    )


def require_valid(part: TexturedMesh, number: int = 0) -> None:
    """Raises `UnusableInput` (`broken_mesh`) where arrays do not fit each other or hold no numbers."""
    count = len(part.vertices)
    problem = ""
    if part.vertices.ndim != 2 or part.vertices.shape[1] != 3:
        problem = f"its vertices have the shape {part.vertices.shape}"
    elif part.faces.ndim != 2 or part.faces.shape[1] != 3 or part.faces.dtype.kind not in "iu":
        problem = f"its faces have the shape {part.faces.shape} and the type {part.faces.dtype}"
    elif not np.isfinite(part.vertices).all():
        problem = "a coordinate is not a finite number"
    elif len(part.faces) and (part.faces.min() < 0 or part.faces.max() >= count):
        problem = f"a face points outside of its {count} vertices"
    else:
        for name, values, width in (
            ("normals", part.normals, 3),
            ("uvs", part.uvs, 2),
            ("colours", part.colours, 4),
        ):
            if values is not None and values.shape != (count, width):
                problem = f"its {name} have the shape {values.shape}, not {(count, width)}"
            elif values is not None and not np.isfinite(values).all():
                problem = f"one of its {name} is not a finite number"
    if problem:
        raise UnusableInput(
            f"part {number} is broken: {problem}", code="broken_mesh", hint="Repair or export it anew."
        )


def attributes_of(model: Model) -> tuple[Floats, Floats]:
    """(n,a) and weights (a): colours and texture coordinates where a part has them, else normals."""
    has_colours = any(part.colours is not None for part in model.parts)
    has_uvs = any(part.uvs is not None and part.has_pictures for part in model.parts)
    columns: list[Floats] = []
    weights: list[float] = []
    if has_colours:
        columns.append(
            np.concatenate(
                [
                    part.colours.astype(np.float32) / 255
                    if part.colours is not None
                    else np.ones((len(part.vertices), 4), np.float32)
                    for part in model.parts
                ]
            )
        )
        weights += [COLOUR_WEIGHT] * 4
    if has_uvs:
        columns.append(_or_zero([part.uvs for part in model.parts], model, 2))
        weights += [UV_WEIGHT] * 2
    if not columns and any(part.normals is not None for part in model.parts):
        columns.append(_or_zero([part.normals for part in model.parts], model, 3))
        weights += [NORMAL_WEIGHT] * 3
    if not columns:
        return np.zeros((model.vertex_count, 0), np.float32), np.zeros(0, np.float32)
    return np.concatenate(columns, axis=1), np.array(weights, np.float32)


def take_vertices(part: TexturedMesh, source: Integers, faces: Integers) -> TexturedMesh:
    """The part with the vertices numbered `source` (k), and faces over those."""
    return replace(
        part,
        vertices=part.vertices[source].astype(np.float32, copy=False),
        faces=faces.astype(np.int32),
        normals=None if part.normals is None else part.normals[source],
        uvs=None if part.uvs is None else part.uvs[source],
        colours=None if part.colours is None else part.colours[source],
    )


def merge_equal_vertices(model: Model) -> Model:
    """Vertices of a part that are alike in everything become one; faces stay as they are."""
    return Model(parts=tuple(_merge(part) for part in model.parts))


def _merge(part: TexturedMesh) -> TexturedMesh:
    if not len(part.vertices):
        return part
    columns = [
        values.astype(np.float32)
        for values in (part.vertices, part.normals, part.uvs, part.colours)
        if values is not None
    ]
    rows = np.concatenate(columns, axis=1) + np.float32(0)  # -0 equals 0
    alike = number_rows(rows.view(np.uint32))
    return take_vertices(part, alike.first, alike.labels[part.faces])


def _or_zero(found: list[Floats | None], model: Model, width: int) -> Floats:
    return np.concatenate(
        [
            np.zeros((len(part.vertices), width), np.float32)
            if values is None
            else values.astype(np.float32, copy=False)
            for values, part in zip(found, model.parts, strict=True)
        ]
    )
