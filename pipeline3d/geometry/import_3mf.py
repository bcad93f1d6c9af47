"""A 3MF package (3D Manufacturing Format, core specification 1.3) as a model, in metres.

Objects, components, the production extension's further model files, and the colours of base materials and
colour groups (one colour a face) are read; textures are not. The package is a ZIP and its content XML, read
as a stream: neither entities nor components that multiply can make it larger than the limits.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

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
DEPTH = 32
"""Components within components."""
MOST_COLOURS = 1_000_000

Key = tuple[str, str]
"""An object or a group of colours: the model file it is in, and its number there."""
Colour = tuple[float, float, float, float]


@dataclass
class _Object:
    """Triangles with the colours they name (`kinds` by `numbers`), or components: objects and matrices."""

    colour: tuple[str, int]
    corners: array[float] = field(default_factory=lambda: array("d"))
    triangles: array[int] = field(default_factory=lambda: array("l"))
    numbers: array[int] = field(default_factory=lambda: array("l"))
    kinds: dict[tuple[str, int], int] = field(default_factory=dict)
    components: list[tuple[Key, npt.NDArray[np.float64]]] = field(default_factory=list)

    @property
    def face_count(self) -> int:
        """Triangles of its own."""
        return len(self.numbers)


@dataclass
class _Package:
    archive: Archive
    limits: ImportLimits
    notes: list[str]
    objects: dict[Key, _Object] = field(default_factory=dict)
    palettes: dict[Key, list[Colour]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)


class _ModelFile:
    """Takes the elements of one model file as they come; nothing of the XML is kept."""

    def __init__(self, package: _Package, name: str) -> None:
        self.package, self.name = package, name
        self.scale = METRES["millimeter"]
        self.items: list[tuple[Key, npt.NDArray[np.float64]]] = []
        self.object = _Object(("", 0))
        self.palette: list[Colour] = []
        self.elements: dict[str, Callable[[dict[str, str]], None]] = {
            "model": self._model,
            "basematerials": self._palette,
            "colorgroup": self._palette,
            "base": self._colour,
            "color": self._colour,
            "object": self._object,
            "vertex": self._vertex,
            "triangle": self._triangle,
            "component": self._component,
            "item": self._item,
        }

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins; its name has its namespace before a brace."""
        take = self.elements.get(tag.rpartition("}")[2])
        if take is not None:
            take(attributes)

    def refuse_document_type(self, *_: object) -> None:
        """Entities can make XML of any size out of little; 3MF forbids them."""
        raise refused("archive_refused", "its XML declares a document type, which 3MF has not")

    def _model(self, attributes: dict[str, str]) -> None:
        self.scale = METRES[attributes.get("unit", "millimeter")]

    def _palette(self, attributes: dict[str, str]) -> None:
        self.palette = self.package.palettes.setdefault((self.name, attributes["id"]), [])

    def _colour(self, attributes: dict[str, str]) -> None:
        if len(self.palette) < MOST_COLOURS:
            text = attributes.get("color") or attributes.get("displaycolor") or "#FFFFFF"
            self.palette.append(_linear(text))

    def _object(self, attributes: dict[str, str]) -> None:
        self.object = _Object((attributes.get("pid", ""), int(attributes.get("pindex", 0))))
        self.package.objects[self.name, attributes["id"]] = self.object

    def _vertex(self, attributes: dict[str, str]) -> None:
        corners = self.object.corners
        corners.extend((float(attributes["x"]), float(attributes["y"]), float(attributes["z"])))
        if len(corners) > 3 * self.package.limits.vertices:
            raise refused("model_too_large", f"an object has more than {len(corners) // 3:,} vertices")

    def _triangle(self, attributes: dict[str, str]) -> None:
        found = self.object
        found.triangles.extend((int(attributes["v1"]), int(attributes["v2"]), int(attributes["v3"])))
        colour = found.colour
        if "pid" in attributes or "p1" in attributes:
            colour = (attributes.get("pid", colour[0]), int(attributes.get("p1", colour[1])))
        found.numbers.append(found.kinds.setdefault(colour, len(found.kinds)))
        if found.face_count > self.package.limits.faces:
            raise refused("model_too_large", f"an object has more than {self.package.limits.faces:,} faces")

    def _component(self, attributes: dict[str, str]) -> None:
        self.object.components.append((_key_of(attributes, self.name), _matrix_of(attributes)))

    def _item(self, attributes: dict[str, str]) -> None:
        self.items.append((_key_of(attributes, self.name), _matrix_of(attributes)))


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
    package.read.add(name)
    file = _ModelFile(package, name)
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler = file.start
    parser.StartDoctypeDeclHandler = file.refuse_document_type
    try:
        for chunk in package.archive.chunks(name):
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise broken("its XML is damaged") from error
    return file.scale, file.items


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
    counted[key] = found.face_count + sum(b[0] for b in below), 1 + sum(b[1] for b in below)
    return counted[key]


def _build(package: _Package, key: Key, matrix: npt.NDArray[np.float64]) -> Iterator[TexturedMesh]:
    """An object and what is below it, placed."""
    found = package.objects[key]
    for part in _split_by_colour(package, key[0], found):
        yield place(part, matrix)
    for below, moved in found.components:
        yield from _build(package, below, matrix @ moved)


def _split_by_colour(package: _Package, name: str, found: _Object) -> Iterator[TexturedMesh]:
    if not found.face_count:
        return
    vertices = np.array(found.corners, np.float64).reshape(-1, 3).astype(np.float32)
    faces = np.array(found.triangles, np.int64).reshape(-1, 3)
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise broken("a face names a vertex that does not exist")
    numbers = np.array(found.numbers)
    for (palette, index), number in found.kinds.items():
        colours = package.palettes.get((name, palette), [])
        if palette and not 0 <= index < len(colours):
            package.notes.append("Some colours or textures of the 3MF are not kept.")
        known = palette and 0 <= index < len(colours)
        yield keep_used_vertices(
            TexturedMesh(
                vertices=vertices,
                faces=faces[numbers == number].astype(np.int32),
                material=Material(base_colour=colours[index]) if known else MATT,
            )
        )


def _linear(text: str) -> Colour:
    levels = [int(text[at : at + 2], 16) / 255.0 for at in range(1, len(text), 2)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels[:3])
    return red, green, blue, levels[3] if len(levels) > 3 else 1.0


def _key_of(attributes: dict[str, str], name: str) -> Key:
    path = next((value for key, value in attributes.items() if key.endswith("}path")), None)
    return (name if path is None else path.lstrip("/")), attributes["objectid"]


def _matrix_of(attributes: dict[str, str]) -> npt.NDArray[np.float64]:
    """The transform (4,4) for columns; the file has twelve numbers for rows."""
    matrix = np.eye(4)
    text = attributes.get("transform")
    if text:
        matrix[:3, :] = np.array(text.split(), np.float64).reshape(4, 3).T
    if not np.isfinite(matrix).all():
        raise broken("a transform is no number")
    return matrix
