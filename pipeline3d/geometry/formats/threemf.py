"""3MF for slicers: welded triangles with their unit, and colours of the materials extension.

Core specification 1.3 and Materials and Properties Extension 1.2 (https://3mf.io/spec). A part of one
colour gets a base material, others a colour for each corner; a texture is sampled at the vertices.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.formats.geometry_guard import drawable_parts
from pipeline3d.geometry.formats.surface_colour import DecodedPictures, has_colours, vertex_colours
from pipeline3d.geometry.formats.text_tables import decimals_for, integer_columns, join_rows, number_columns
from pipeline3d.geometry.formats.whole_files import write_whole
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.topology import weld
from pipeline3d.geometry.zip_entries import plain_entry

Unit = Literal["m", "cm", "mm", "in"]
UpAxis = Literal["y", "z"]
UNITS: dict[Unit, tuple[str, float]] = {
    "m": ("millimeter", 1000.0),
    "cm": ("centimeter", 1.0),
    "mm": ("millimeter", 1.0),
    "in": ("inch", 1.0),
}
"""The file's unit and what the model's numbers are multiplied by; metres become the slicers' own unit."""
EFFORT = 4
"""zlib's level: the default takes twice as long for 3 % less."""
CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
MATERIALS = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
CONTENT_TYPES = (
    DECLARATION + '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>'
    "</Types>"
)
RELATIONSHIPS = (
    DECLARATION + '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rel0" Target="/3D/3dmodel.model" '
    'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)


def write_3mf(model: Model, path: Path, *, unit: Unit = "m", up_axis: UpAxis = "y") -> None:
    """Every part as an object of one build; `unit` and `up_axis` are what the model's numbers mean.

    The file's up axis is Z, so that a model whose own is Y is turned and stands on the build plate.
    Triangles of which two corners are at the same place are left out, as the format demands. Raises
    BrokenModelOutput `empty_mesh` where nothing else is there.
    """
    file_unit, scale = UNITS[unit]
    resources: list[bytes] = []
    objects: list[int] = []
    pictures, number = DecodedPictures(), 1
    for part in drawable_parts(model):
        positions, triangles, kept = _welded(part, scale, up_axis)
        if not len(triangles):
            continue
        properties, columns = _colours(part, part.faces[kept], number, pictures)
        resources += [properties, _object(number, positions, triangles, columns)]
        objects.append(number + 1)
        number += 2
    if not objects:
        raise BrokenModelOutput("Every face of the model is a line or a point.", code="empty_mesh")
    items = "".join(f'<item objectid="{each}"/>' for each in objects)
    head = (
        f'{DECLARATION}<model unit="{file_unit}" xml:lang="en-US" xmlns="{CORE}" xmlns:m="{MATERIALS}">'
        '<metadata name="Application">Pipeline3D</metadata><resources>'
    )
    document = b"".join((head.encode(), *resources, f"</resources><build>{items}</build></model>".encode()))
    write_whole(path, _package({"3D/3dmodel.model": document}))


def _package(documents: dict[str, bytes]) -> bytes:
    """Open Packaging Conventions: a ZIP with its content types and relationships."""
    buffer = io.BytesIO()
    entries = {
        "[Content_Types].xml": CONTENT_TYPES.encode(),
        "_rels/.rels": RELATIONSHIPS.encode(),
        **documents,
    }
    with zipfile.ZipFile(buffer, "w") as package:
        for name, content in entries.items():
            package.writestr(plain_entry(name), content, compresslevel=EFFORT)
    return buffer.getvalue()


def _welded(part: TexturedMesh, scale: float, up_axis: UpAxis) -> tuple[npt.NDArray[np.float64], Any, Any]:
    """Positions in the file's unit, triangles of three different ones, and which faces those are."""
    points = weld(part.vertices)
    triangles = points.labels[part.faces]
    a, b, c = triangles.T
    kept = (a != b) & (b != c) & (c != a)
    positions = part.vertices[points.first].astype(np.float64) * scale
    if up_axis == "y":
        positions = np.stack([positions[:, 0], -positions[:, 2], positions[:, 1]], axis=1)
    return positions, triangles[kept], kept


def _colours(
    part: TexturedMesh, faces: Any, number: int, pictures: DecodedPictures
) -> tuple[bytes, list[bytes | Any]]:
    """The resource of that number, and what each triangle says of it."""
    colours = vertex_colours(part, pictures)
    if not has_colours(part):
        name = quoteattr(_printable(part.material.name) or "material")
        base = f'<base name={name} displaycolor="{_hex(colours[0])}"/>'
        text = f'<basematerials id="{number}">{base}</basematerials>'
        return text.encode(), []
    packed = np.ascontiguousarray(colours).view(np.uint32).reshape(-1)
    distinct, places = np.unique(packed, return_inverse=True)
    table = np.frombuffer(distinct.tobytes(), np.uint8).reshape(-1, 4)
    digits = np.frombuffer(b"0123456789ABCDEF", np.uint8)
    letters = np.stack([digits[table >> 4], digits[table & 15]], axis=2).reshape(len(table), 8)
    rows = join_rows([b'<m:color color="#', letters, b'"/>'])
    corners = integer_columns(places.reshape(-1)[faces])
    said: list[bytes | Any] = [f' pid="{number}"'.encode()]
    for corner, column in zip((b"p1", b"p2", b"p3"), corners, strict=True):
        said += [b" " + corner + b'="', column, b'"']
    return f'<m:colorgroup id="{number}">'.encode() + rows + b"</m:colorgroup>", said


def _object(number: int, positions: Any, triangles: Any, said: list[bytes | Any]) -> bytes:
    x, y, z = number_columns(positions, decimals_for(positions))
    v1, v2, v3 = integer_columns(triangles)
    vertices = join_rows([b'<vertex x="', x, b'" y="', y, b'" z="', z, b'"/>'])
    faces = join_rows([b'<triangle v1="', v1, b'" v2="', v2, b'" v3="', v3, b'"', *said, b"/>"])
    head = f'<object id="{number + 1}" type="model" pid="{number}" pindex="0"><mesh><vertices>'
    return b"".join(
        (head.encode(), vertices, b"</vertices><triangles>", faces, b"</triangles></mesh></object>")
    )


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{value:02X}" for value in colour.tolist())


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable()).encode("utf-8", "ignore").decode()[:200]
