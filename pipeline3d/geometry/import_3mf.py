"""A 3MF package (3D Manufacturing Format, core specification 1.3) as a model, in metres.

Objects, components, the production extension's further model files, and the colours of base materials and
colour groups are read; textures are not. The package is a ZIP and its content XML: neither entities nor
components that multiply can make it larger than the limits.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.import_archives import Archive
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.import_parts import check_model, join_by_material, keep_used_vertices, place
from pipeline3d.geometry.mesh import MATT, Material, Model, TexturedMesh
from pipeline3d.geometry.refusals import broken, refused

METRES = {
    "micron": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "foot": 0.3048,
    "meter": 1.0,
}
TAGS = ("{*}model", "{*}basematerials", "{*}colorgroup", "{*}object", "{*}item")
DEPTH = 32
"""Components within components."""
MOST_COLOURS = 1_000_000

Key = tuple[str, str]
"""An object or a group of colours: the model file it is in, and its number there."""
Colour = tuple[float, float, float, float]


@dataclass
class _Object:
    """Triangles with the colours they name, or components: an object and where it is placed."""

    vertices: npt.NDArray[np.float32]
    faces: npt.NDArray[np.int32]
    colours: list[tuple[str, int]]
    components: list[tuple[Key, npt.NDArray[np.float64]]]


@dataclass
class _Package:
    archive: Archive
    limits: ImportLimits
    notes: list[str]
    objects: dict[Key, _Object] = field(default_factory=dict)
    palettes: dict[Key, list[Colour]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)


def read_3mf(archive: Archive, limits: ImportLimits, notes: list[str]) -> Model:
    """What the package builds, Y up: its Z is up. Raises UnusableInput."""
    roots = [name for name in archive.entries if name.lower().endswith("3d/3dmodel.model")]
    if not roots:
        raise broken("it has no 3D/3dmodel.model")
    package = _Package(archive, limits, notes)
    try:
        scale, items = _read_file(package, roots[0])
        _check_counts(package, [key for key, _ in items])
        upright = scale * np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float64)
        whole = np.eye(4)
        whole[:3, :3] = upright
        parts = [part for key, matrix in items for part in _build(package, key, whole @ matrix)]
    except (KeyError, ValueError, TypeError, OverflowError, IndexError) as error:
        raise broken(f"its XML is not as 3MF is described ({type(error).__name__})") from error
    return check_model(join_by_material(parts), limits)


def _read_file(package: _Package, name: str) -> tuple[float, list[tuple[Key, npt.NDArray[np.float64]]]]:
    """Read one model file: its unit in metres and what its build places."""
    from lxml import etree  # type: ignore[import-untyped,unused-ignore]

    package.read.add(name)
    data = package.archive.read(name)
    if b"<!DOCTYPE" in data[:4096] or b"<!ENTITY" in data:
        raise refused("archive_refused", "its XML declares a document type, which 3MF has not")
    scale, items = METRES["millimeter"], []
    try:
        events = etree.iterparse(
            io.BytesIO(data), events=("start", "end"), tag=TAGS, resolve_entities=False, no_network=True
        )
        for event, element in events:
            kind = etree.QName(element).localname
            if event == "start" and kind == "model":
                scale = METRES[element.get("unit", "millimeter")]
            if event == "start":
                continue
            if kind in ("basematerials", "colorgroup"):
                package.palettes[name, element.get("id", "")] = _read_palette(element)
            elif kind == "object":
                package.objects[name, element.get("id", "")] = _read_object(package, name, element)
                element.clear()
            elif kind == "item":
                items.append((_key_of(element, name), _matrix_of(element)))
    except etree.XMLSyntaxError as error:
        raise broken("its XML is damaged") from error
    return scale, items


def _read_object(package: _Package, name: str, element: Any) -> _Object:
    mesh = next(element.iter("{*}mesh"), None)
    components = [
        (_key_of(component, name), _matrix_of(component)) for component in element.iter("{*}component")
    ]
    if mesh is None:
        return _Object(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32), [], components)
    corners = [(v.get("x"), v.get("y"), v.get("z")) for v in mesh.iter("{*}vertex")]
    triangles, colours = [], []
    palette, first = element.get("pid", ""), element.get("pindex", "0")
    for triangle in mesh.iter("{*}triangle"):
        triangles.append((triangle.get("v1"), triangle.get("v2"), triangle.get("v3")))
        colours.append((triangle.get("pid", palette), int(triangle.get("p1", first))))
    if len(triangles) > package.limits.faces or len(corners) > package.limits.vertices:
        raise refused("model_too_large", f"an object has {len(triangles):,} faces")
    vertices = np.array(corners, np.float64).reshape(-1, 3).astype(np.float32)
    faces = np.array(triangles, np.int64).reshape(-1, 3)
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise broken("a face names a vertex that does not exist")
    return _Object(vertices, faces.astype(np.int32), colours, components)


def _check_counts(package: _Package, keys: list[Key]) -> None:
    """Count what the build will make, each object once, however often it is placed."""
    counted: dict[Key, tuple[int, int]] = {}
    totals = [_count(package, key, counted, 1) for key in keys]
    faces, placed = sum(total[0] for total in totals), sum(total[1] for total in totals)
    if faces > package.limits.faces or placed > package.limits.primitives:
        raise refused("model_too_large", f"it places {placed:,} objects with {faces:,} faces")


def _count(package: _Package, key: Key, counted: dict[Key, tuple[int, int]], depth: int) -> tuple[int, int]:
    """Faces of an object and all below it, and how many objects that are."""
    if depth > DEPTH:
        raise broken("its components are below themselves, or too deep")
    if key in counted:
        return counted[key]
    if key not in package.objects and key[0] not in package.read and key[0] in package.archive.entries:
        _read_file(package, key[0])
    if key not in package.objects:
        raise broken(f"there is no object {key[1][:40]!r}")
    found = package.objects[key]
    below = [_count(package, component, counted, depth + 1) for component, _ in found.components]
    counted[key] = len(found.faces) + sum(b[0] for b in below), 1 + sum(b[1] for b in below)
    return counted[key]


def _build(package: _Package, key: Key, matrix: npt.NDArray[np.float64]) -> Iterator[TexturedMesh]:
    """An object and what is below it, placed."""
    found = package.objects[key]
    for part in _split_by_colour(package, key[0], found):
        yield place(part, matrix)
    for below, moved in found.components:
        yield from _build(package, below, matrix @ moved)


def _split_by_colour(package: _Package, name: str, found: _Object) -> Iterator[TexturedMesh]:
    if not len(found.faces):
        return
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(found.colours))}
    numbers = np.array([kinds[kind] for kind in found.colours], np.int32)
    for (palette, index), number in kinds.items():
        colours = package.palettes.get((name, palette), [])
        if palette and index >= len(colours):
            package.notes.append("Some colours or textures of the 3MF are not kept.")
        material = Material(base_colour=colours[index]) if index < len(colours) else MATT
        yield keep_used_vertices(
            TexturedMesh(vertices=found.vertices, faces=found.faces[numbers == number], material=material)
        )


def _read_palette(element: Any) -> list[Colour]:
    """Linear colours of a group; its entries say sRGB as #RRGGBB or #RRGGBBAA."""
    colours = [entry.get("color") or entry.get("displaycolor") or "#FFFFFF" for entry in element][
        :MOST_COLOURS
    ]
    return [_linear(text) for text in colours]


def _linear(text: str) -> Colour:
    levels = [int(text[at : at + 2], 16) / 255.0 for at in range(1, len(text), 2)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels[:3])
    return red, green, blue, levels[3] if len(levels) > 3 else 1.0


def _key_of(element: Any, name: str) -> Key:
    path = next((value for key, value in element.attrib.items() if key.endswith("}path")), None)
    return (name if path is None else path.lstrip("/")), element.get("objectid", "")


def _matrix_of(element: Any) -> npt.NDArray[np.float64]:
    """The transform (4,4) for columns; the file has twelve numbers for rows."""
    matrix = np.eye(4)
    text = element.get("transform")
    if text:
        matrix[:3, :] = np.array(text.split(), np.float64).reshape(4, 3).T
    if not np.isfinite(matrix).all():
        raise broken("a transform is no number")
    return matrix
