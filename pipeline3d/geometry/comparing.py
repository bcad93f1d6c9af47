"""Is a written file still the model that it was made of: faces, bounds, area, volume and colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import Pipeline3dError
from pipeline3d.geometry.colour_space import to_linear, to_srgb
from pipeline3d.geometry.face_directions import cross
from pipeline3d.geometry.formats.reading_back import is_compressed, read_back
from pipeline3d.geometry.formats.surface_colour import DecodedPictures, colour_at, vertex_colours
from pipeline3d.geometry.formats.threemf import Unit, UpAxis
from pipeline3d.geometry.mesh import Floats, Model, TexturedMesh

Doubles = npt.NDArray[np.float64]

FEWEST_SAMPLES, MOST_SAMPLES = 20_000, 150_000
"""Places where the colour is looked at: every face, large ones several times, of many faces some."""
MOST_DIVISIONS = 64
CELLS_A_SIDE, CELL_OFFSET = 3.7, 0.137
"""Cells of the colour comparison over the bounds; odd numbers, so that regular meshes miss their borders."""
COUNTED_CELL = 0.02
"""Share of the surface that a cell must hold before its colour counts alone."""
ALONE = 4.0
"""A cell alone may differ by so many times what all together may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a file may be from its source; None leaves a comparison out.

    faces: share of them; bounds: of the bounding box's diagonal; area: share of it; volume: of area times
    diagonal; colour: mean difference of local means, in steps of 8-bit sRGB.
    """

    faces: float | None = 0.0
    bounds: float | None = 2e-6
    area: float | None = 1e-4
    volume: float | None = 1e-4
    colour: float | None = 3.0
    collapsed_faces: bool = True
    """Whether faces with two corners at one place count; a format may forbid them."""


EXACT = Tolerance()
TOLERANCES: Mapping[str, Tolerance] = {
    ".stl": Tolerance(colour=None),
    # coordinates are decimal numbers, so that a corner may come to lie on another
    ".3mf": Tolerance(faces=0.01, collapsed_faces=False),
}
VERTEX_COLOURED = frozenset({".ply", ".3mf"})
"""Formats that keep a texture only as it is at the vertices: they are compared with just that."""
COMPRESSED = Tolerance(bounds=1e-3, area=1e-2, volume=1e-3, colour=4.0, faces=0.01)
"""For quantised positions and lossy textures; codecs drop the faces that quantisation flattens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was: `what` is stable, for programs."""

    what: str
    expected: str
    found: str
    limit: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, found {self.found} (limit {self.limit})"


def compare(source: Model, found: Model, *, tolerance: Tolerance = EXACT) -> list[Difference]:
    """Every difference beyond the tolerance, none for the same model; vertices may be split or welded."""
    if not tolerance.collapsed_faces:
        source, found = _without_collapsed(source), _without_collapsed(found)
    about, _ = _bounds(source)
    before, after = _Shape.of(source, about), _Shape.of(found, about)
    differences = _compare_counts(before, after, tolerance)
    if not before.faces or not after.faces:
        return differences
    differences += _compare_shapes(before, after, tolerance)
    if tolerance.colour is not None and not any(each.what == "bounds" for each in differences):
        differences += _compare_colours(source, found, before, tolerance.colour)
    return differences


def verify_file(
    path: Path,
    source: Model,
    *,
    tolerance: Tolerance | None = None,
    unit: Unit = "m",
    up_axis: UpAxis = "y",
) -> list[Difference]:
    """Read the file again with a library that did not write it, and compare.

    `unit` and `up_axis` are the source's and matter for 3MF, which knows both. A file that cannot be read
    is a difference, too: `readable`.
    """
    suffix = path.suffix.lower()
    try:
        found = read_back(path, unit=unit, up_axis=up_axis)
    except Pipeline3dError as error:
        return [Difference(what="readable", expected="a whole file", found=error.message, limit="")]
    usual = COMPRESSED if is_compressed(path) else TOLERANCES.get(suffix, EXACT)
    expected = as_vertex_coloured(source) if suffix in VERTEX_COLOURED else source
    return compare(expected, found, tolerance=tolerance or usual)


def as_vertex_coloured(model: Model) -> Model:
    """What is left of the colours in a format that has them at the vertices only; linear, 8 bits."""
    pictures = DecodedPictures()
    parts = []
    for part in model.parts:
        colours = vertex_colours(part, pictures)
        linear = np.rint(to_linear(colours[:, :3] / np.float32(255)) * 255).astype(np.uint8)
        colours = np.concatenate([linear, colours[:, 3:]], axis=1)
        parts.append(TexturedMesh(vertices=part.vertices, faces=part.faces, colours=colours))
    return Model(parts=tuple(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    faces: int
    low: Doubles
    high: Doubles
    area: float
    volume: float

    @property
    def diagonal(self) -> float:
        return float(np.linalg.norm(self.high - self.low))

    @classmethod
    def of(cls, model: Model, about: Doubles) -> _Shape:
        """The volume is taken about a point: that of an open surface depends on it."""
        area, volume = 0.0, 0.0
        for part in model.parts:
            a, b, c = (part.vertices[part.faces[:, corner]].astype(np.float64) for corner in range(3))
            crosses = cross(b - a, c - a)
            area += float(np.sqrt(np.einsum("ij,ij->i", crosses, crosses)).sum() / 2)
            volume += float(np.einsum("ij,ij->", a - about, crosses) / 6)
        low, high = _bounds(model)
        return cls(faces=model.face_count, low=low, high=high, area=area, volume=volume)


def _bounds(model: Model) -> tuple[Doubles, Doubles]:
    """Of the vertices that faces use: loose ones are no part of the surface."""
    lows, highs = [], []
    for part in model.parts:
        if len(part.faces):
            used = np.zeros(len(part.vertices), bool)
            used[part.faces] = True
            columns = np.ascontiguousarray(part.vertices[used].T)
            lows.append(columns.min(axis=1))
            highs.append(columns.max(axis=1))
    if not lows:
        return np.zeros(3), np.zeros(3)
    return np.min(lows, axis=0).astype(np.float64), np.max(highs, axis=0).astype(np.float64)


def _without_collapsed(model: Model) -> Model:
    parts = []
    for part in model.parts:
        a, b, c = (part.vertices[part.faces[:, corner]] for corner in range(3))
        same = (a == b).all(axis=1) | (b == c).all(axis=1) | (c == a).all(axis=1)
        parts.append(replace(part, faces=part.faces[~same]))
    return Model(parts=tuple(parts))


def _compare_counts(before: _Shape, after: _Shape, tolerance: Tolerance) -> list[Difference]:
    if tolerance.faces is None or abs(after.faces - before.faces) <= tolerance.faces * before.faces:
        return []
    return [
        Difference(
            what="faces",
            expected=f"{before.faces}",
            found=f"{after.faces}",
            limit=f"{tolerance.faces:.2%}",
        )
    ]


def _compare_shapes(before: _Shape, after: _Shape, tolerance: Tolerance) -> list[Difference]:
    differences = []
    diagonal = before.diagonal
    moved = float(max(np.abs(after.low - before.low).max(), np.abs(after.high - before.high).max()))
    # 32-bit floats hold a model far from the origin less exactly
    rounding = float(max(np.abs(before.low).max(), np.abs(before.high).max())) * 2.0**-22
    if tolerance.bounds is not None and not moved <= tolerance.bounds * diagonal + rounding:
        differences.append(
            Difference(
                what="bounds",
                expected=f"{_text(before.low)} to {_text(before.high)}",
                found=f"{_text(after.low)} to {_text(after.high)}",
                limit=f"{tolerance.bounds:g} of the diagonal",
            )
        )
    for what, limit, expected, found, scale in (
        ("area", tolerance.area, before.area, after.area, before.area),
        ("volume", tolerance.volume, before.volume, after.volume, before.area * diagonal),
    ):
        noise = rounding * diagonal * (1.0 if what == "area" else diagonal) * 16
        if limit is not None and not abs(found - expected) <= limit * scale + noise:
            differences.append(
                Difference(what=what, expected=f"{expected:.6g}", found=f"{found:.6g}", limit=f"{limit:g}")
            )
    return differences


def _text(point: Doubles) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in point) + ")"


def _compare_colours(source: Model, found: Model, shape: _Shape, limit: float) -> list[Difference]:
    """Mean colours in the cells of a grid: independent of the order of faces, and a turned picture shows."""
    pictures = DecodedPictures()
    before = _colours_in_cells(source, shape, pictures)
    after = _colours_in_cells(found, shape, pictures)
    both = np.minimum(before[:, 3], after[:, 3])
    total = float(both.sum())
    if total <= 0:
        return []
    means = [cells[:, :3] / np.maximum(cells[:, 3:], 1e-300) for cells in (before, after)]
    apart = np.abs(means[0] - means[1]).max(axis=1) * 255
    mean, counted = float((apart * both).sum() / total), both >= COUNTED_CELL * total
    worst = float(apart[counted].max(initial=0.0))
    if mean <= limit and worst <= limit * ALONE:
        return []
    overall = [cells[:, :3].sum(axis=0) / max(float(cells[:, 3].sum()), 1e-300) for cells in (before, after)]
    return [
        Difference(
            what="colour",
            expected=f"mean sRGB {_bytes(overall[0])}",
            found=f"mean sRGB {_bytes(overall[1])}, locally {mean:.1f} away, at worst {worst:.1f}",
            limit=f"{limit:g} of 255, {limit * ALONE:g} at one place",
        )
    ]


def _bytes(colour: Doubles) -> str:
    return "(" + ", ".join(f"{value * 255:.0f}" for value in colour) + ")"


def _colours_in_cells(model: Model, shape: _Shape, pictures: DecodedPictures) -> Doubles:
    """For each cell the sums of sRGB weighted by area, and of the areas."""
    side = int(CELLS_A_SIDE + CELL_OFFSET) + 1
    cells = np.zeros((side**3, 4))
    extent = max(float((shape.high - shape.low).max()), 1e-300)
    for part in model.parts:
        if not len(part.faces):
            continue
        points, weights, colours = _sample_part(part, model.face_count, pictures)
        place = np.clip((points - shape.low) / extent * CELLS_A_SIDE + CELL_OFFSET, 0, side - 1).astype(int)
        number = (place[:, 0] * side + place[:, 1]) * side + place[:, 2]
        for channel in range(3):
            cells[:, channel] += np.bincount(number, weights * colours[:, channel], side**3)
        cells[:, 3] += np.bincount(number, weights, side**3)
    largest = float(cells[:, 3].max())
    return cells / largest if largest > 0 else cells


def _sample_part(
    part: TexturedMesh, faces_of_all: int, pictures: DecodedPictures
) -> tuple[Doubles, Doubles, Floats]:
    """Points (n,3), the area that each stands for (n,), its sRGB colour 0 to 1 (n,3)."""
    faces = part.faces[:: -(-faces_of_all // MOST_SAMPLES)]
    wanted = FEWEST_SAMPLES / max(faces_of_all, 1)
    weights = _pattern(int(np.clip(np.ceil(np.sqrt(wanted)), 1, MOST_DIVISIONS)))
    corners = part.vertices[faces].astype(np.float64)
    crosses = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.sqrt(np.einsum("ij,ij->i", crosses, crosses)) / 2 / len(weights)
    points = np.einsum("kc,fcd->fkd", weights, corners).reshape(-1, 3)
    uvs = colours = None
    if part.uvs is not None and part.texture is not None:
        uvs = np.einsum("kc,fcd->fkd", weights, part.uvs[faces]).reshape(-1, 2).astype(np.float32)
    if part.colours is not None:
        values = part.colours[faces].astype(np.float32) / np.float32(255)
        colours = np.einsum("kc,fcd->fkd", weights, values).reshape(-1, 4).astype(np.float32)
    linear = np.clip(colour_at(part, uvs, colours, pictures)[:, :3], 0, 1)
    shown = np.broadcast_to(to_srgb(linear), (len(points), 3))
    return points, np.repeat(areas, len(weights)), shown


def _pattern(divisions: int) -> Floats:
    """Barycentric middles (d*d,3) of a triangle's equal parts: the same set whichever corner comes first."""
    middles = []
    for row in range(divisions):
        for column in range(divisions - row):
            middles.append((row + 1 / 3, column + 1 / 3))
            if column < divisions - row - 1:
                middles.append((row + 2 / 3, column + 2 / 3))
    found = np.array(middles) / divisions
    return np.column_stack([1 - found.sum(axis=1), found]).astype(np.float32)
