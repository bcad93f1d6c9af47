"""Reads the OBJ that threestudio exports, with its MTL and texture or its vertex colours, into a glTF mesh.

threestudio is z-up and its front is +x; glTF is y-up with the front at +z: (x, y, z) becomes (y, z, x), which
keeps the winding. Its texture coordinates have (0,0) below, glTF's above. Its colours are sRGB, glTF's vertex
colours linear. A file that cannot be trusted is a Failure, never a guess.
"""

from __future__ import annotations

import math
import os
from array import array
from dataclasses import dataclass, field
from typing import Callable

import glb
from protocol import Failure

MAX_FILE_BYTES = 1 << 30
MAX_FACES = 5_000_000
MAX_TEXTURE_BYTES = 256 << 20
WHITE = (1.0, 1.0, 1.0)


@dataclass
class _Parsed:
    """The file as it is: flat lists, faces as triangles of (vertex, texture coordinate or -1)."""

    positions: list[tuple[float, float, float]] = field(default_factory=list)
    colours: list[tuple[float, float, float]] = field(default_factory=list)
    uvs: list[tuple[float, float]] = field(default_factory=list)
    corners: list[tuple[int, int]] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    materials: list[str] = field(default_factory=list)


def read_mesh(path: str, note: Callable[[str], None]) -> glb.Mesh:
    """The mesh of an OBJ file. Raises Failure(broken_output or empty_output)."""
    parsed = _parse(path)
    if not parsed.corners:
        raise Failure(
            "empty_output",
            "The exported mesh has no faces: the density never crossed the threshold.",
            "More steps, a lower isosurface_threshold, or a plainer prompt may help.",
        )
    texture, plain = _material(path, parsed, note)
    if texture is not None and any(uv < 0 for _, uv in parsed.corners):
        note("The texture was left out: some faces have no texture coordinates.")
        texture = None
    if texture is None and not parsed.colours and plain == WHITE:
        note("The export has neither texture nor colours; the mesh is white.")
    return _build(parsed, texture, plain)


def _broken(number: int, reason: str) -> Failure:
    return Failure("broken_output", f"The exported OBJ cannot be used: line {number} {reason}.")


def _parse(path: str) -> _Parsed:
    parsed = _Parsed()
    try:
        if os.path.getsize(path) > MAX_FILE_BYTES:
            raise Failure("broken_output", f"The exported OBJ is larger than {MAX_FILE_BYTES} bytes.")
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                try:
                    _parse_line(parsed, line.split(), number)
                except (ValueError, IndexError) as error:
                    raise _broken(number, f"is damaged: {line.strip()[:80]!r}") from error
    except OSError as error:
        raise Failure("broken_output", f"The exported OBJ cannot be read: {error}.") from error
    if parsed.colours and len(parsed.colours) != len(parsed.positions):
        raise Failure("broken_output", "The exported OBJ has colours at some vertices only.")
    return parsed


def _parse_line(parsed: _Parsed, words: list[str], number: int) -> None:
    if not words:
        return
    kind = words[0]
    if kind == "v":
        values = [float(word) for word in words[1:]]
        if len(values) < 3 or not all(map(math.isfinite, values)):
            raise _broken(number, "is no position")
        parsed.positions.append((values[0], values[1], values[2]))
        if len(values) >= 6:  # four values are a position with a weight
            parsed.colours.append((values[3], values[4], values[5]))
    elif kind == "vt":
        values = [float(words[1]), float(words[2]) if len(words) > 2 else 0.0]
        if not all(map(math.isfinite, values)):
            raise _broken(number, "is no texture coordinate")
        parsed.uvs.append((values[0], values[1]))
    elif kind == "f":
        corners = [_corner(parsed, word, number) for word in words[1:]]
        if len(corners) < 3:
            raise _broken(number, "is a face of fewer than three corners")
        for second, third in zip(corners[1:], corners[2:]):
            if len({corners[0][0], second[0], third[0]}) == 3:
                parsed.corners.extend((corners[0], second, third))
        if len(parsed.corners) > MAX_FACES * 3:
            raise _broken(number, f"is beyond {MAX_FACES} faces")
    elif kind == "mtllib":
        parsed.libraries.append(" ".join(words[1:]))
    elif kind == "usemtl":
        parsed.materials.append(" ".join(words[1:]))


def _corner(parsed: _Parsed, word: str, number: int) -> tuple[int, int]:
    """`7`, `7/3`, `7//2`, `7/3/2` or `7/3/`; negative numbers count from the end."""
    parts = word.split("/")
    vertex = _index(int(parts[0]), len(parsed.positions), number)
    has_uv = len(parts) > 1 and parts[1] != ""
    return vertex, _index(int(parts[1]), len(parsed.uvs), number) if has_uv else -1


def _index(value: int, count: int, number: int) -> int:
    index = value - 1 if value > 0 else count + value
    if value == 0 or not 0 <= index < count:
        raise _broken(number, f"names entry {value} of {count}")
    return index


def _material(
    path: str, parsed: _Parsed, note: Callable[[str], None]
) -> tuple[bytes | None, tuple[float, float, float]]:
    """The encoded texture, if there is one that can be used, and the plain colour."""
    folder = os.path.dirname(os.path.realpath(path))
    if not parsed.libraries:
        return None, WHITE
    library = _beside(folder, parsed.libraries[0])
    if library is None:
        note("The export names a material file that is not there; its colours are taken from the vertices.")
        return None, WHITE
    materials = _read_library(library)
    if len(set(parsed.materials)) > 1:
        note("The export has several materials; the first one is used for all faces.")
    wanted = parsed.materials[0] if parsed.materials else next(iter(materials), "")
    plain, map_name = materials.get(wanted, (WHITE, ""))
    if not map_name:
        return None, plain
    texture_path = _beside(folder, map_name)
    texture = _read_texture(texture_path) if texture_path else None
    if texture is None:
        note("The export names a texture that is not there or is no JPEG or PNG; vertex colours are used.")
    return texture, plain


def _beside(folder: str, name: str) -> str | None:
    """A file in the export's own folder; a path that leads elsewhere is as good as missing."""
    found = os.path.realpath(os.path.join(folder, name.replace("\\", "/")))
    return found if os.path.dirname(found) == folder and os.path.isfile(found) else None


def _read_library(path: str) -> dict[str, tuple[tuple[float, float, float], str]]:
    """Plain colour and map_Kd of each material of an MTL file; damaged lines are passed over."""
    found: dict[str, tuple[tuple[float, float, float], str]] = {}
    name = ""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if not words:
                continue
            plain, texture = found.get(name, (WHITE, ""))
            if words[0] == "newmtl":
                name = " ".join(words[1:])
                found[name] = (WHITE, "")
            elif words[0] == "Kd" and len(words) >= 4:
                found[name] = (_colour(words[1:4]), texture)
            elif words[0] == "map_Kd" and len(words) > 1:
                found[name] = (plain, words[-1] if words[1].startswith("-") else " ".join(words[1:]))
    return found


def _colour(words: list[str]) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(word) for word in words)
    except ValueError:
        return WHITE
    return (red, green, blue) if all(map(math.isfinite, (red, green, blue))) else WHITE


def _read_texture(path: str) -> bytes | None:
    if os.path.getsize(path) > MAX_TEXTURE_BYTES:
        return None
    with open(path, "rb") as file:
        data = file.read()
    whole_jpeg = data.startswith(b"\xff\xd8\xff") and b"\xff\xd9" in data[-64:]
    whole_png = data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" in data[-16:]
    return data if whole_jpeg or whole_png else None


def _build(parsed: _Parsed, texture: bytes | None, plain: tuple[float, float, float]) -> glb.Mesh:
    """Turned to y-up, one vertex for each pair of position and texture coordinate, with smooth normals."""
    normals = _normals(parsed)
    positions, out_normals, uvs = array("f"), array("f"), array("f")
    colours, indices = array("B"), array("I")
    # The scale is one for the whole file: a dark vertex of 0 to 255 is not a bright one of 0 to 1.
    top = max((max(colour) for colour in parsed.colours), default=0.0)
    scale = 255.0 if top <= 1.0 else 1.0
    paint = texture is None and (bool(parsed.colours) or plain != WHITE)
    numbers: dict[tuple[int, int], int] = {}
    for vertex, uv in parsed.corners:
        key = (vertex, uv if texture is not None else -1)
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = len(numbers)
            x, y, z = parsed.positions[vertex]
            positions.extend((y, z, x))
            x, y, z = normals[vertex]
            out_normals.extend((y, z, x))
            if texture is not None:
                u, v = parsed.uvs[uv]
                uvs.extend((u, 1.0 - v))
            if paint:
                rgb, by = (parsed.colours[vertex], scale) if parsed.colours else (plain, 255.0)
                colours.extend(glb.LINEAR_BYTES[min(255, max(0, round(value * by)))] for value in rgb)
                colours.append(255)
        indices.append(number)
    if not all(map(math.isfinite, positions)) or not all(map(math.isfinite, uvs)):
        raise Failure("broken_output", "The exported OBJ has numbers too large for a model.")
    return glb.Mesh(
        positions,
        indices,
        normals=out_normals,
        uvs=uvs if texture is not None else None,
        colours=colours if paint else None,
        texture=texture,
    )


def _normals(parsed: _Parsed) -> list[tuple[float, float, float]]:
    """At each position the sum of its faces' normals, weighted by area, of length one; seams stay smooth."""
    sums = [[0.0, 0.0, 0.0] for _ in parsed.positions]
    for start in range(0, len(parsed.corners), 3):
        a, b, c = (vertex for vertex, _ in parsed.corners[start : start + 3])
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (parsed.positions[at] for at in (a, b, c))
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for vertex in (a, b, c):
            total = sums[vertex]
            total[0] += nx
            total[1] += ny
            total[2] += nz
    lengths = [math.sqrt(x * x + y * y + z * z) for x, y, z in sums]
    return [
        (x / length, y / length, z / length) if 0 < length < math.inf else (0.0, 0.0, 1.0)
        for (x, y, z), length in zip(sums, lengths)
    ]
