"""Wavefront OBJ with its material libraries and textures as a model, a part for each material.

trimesh reads the geometry. It would lose most of the materials and decode every picture, so it is given
their names only, and the libraries are read here, with the common extensions for physically based ones.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.import_meshes import as_part
from pipeline3d.geometry.import_parts import check_model
from pipeline3d.geometry.import_pictures import PictureGate
from pipeline3d.geometry.mesh import MATT, Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.part_pictures import BASE, with_pictures
from pipeline3d.geometry.refusals import broken, refused

Fetch = Callable[[str], bytes]
MAPS = {
    "map_kd": "base",
    "map_ke": "emissive",
    "norm": "normal",
    "map_kn": "normal",
    "map_bump": "normal",
    "bump": "normal",
}
"""A bump map is taken for a normal map only where its name says so: most are heights."""
OPTION_VALUES = {
    "-blendu": 1,
    "-blendv": 1,
    "-bm": 1,
    "-boost": 1,
    "-cc": 1,
    "-clamp": 1,
    "-imfchan": 1,
    "-mm": 2,
    "-o": 3,
    "-s": 3,
    "-t": 3,
    "-texres": 1,
    "-type": 1,
}
MOST_MATERIALS = 4_096


@dataclass
class _Entry:
    """A material of a library: its numbers and the files of its maps, by our names."""

    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)
    maps: dict[str, str] = field(default_factory=dict)


class _Names(dict[str, bytes]):
    """Stands in for the folder of the OBJ: whatever is asked for is the list of its materials' names."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.library = "\n".join(f"newmtl {name}\nKd 1 1 1" for name in names).encode()

    def __missing__(self, key: str) -> bytes:
        return self.library

    def get(self, key: str, default: Any = None) -> Any:
        return self.library


def read_obj(data: bytes, limits: ImportLimits, notes: list[str], *, fetch: Fetch) -> Model:
    """An OBJ; `fetch` gives the files that it names, and `missing_file` is noted. Raises UnusableInput."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\\\n", " ")
    if "\0" in text[:65_536]:
        raise broken("it is no text")
    _check_size(text, limits)
    names = list(
        dict.fromkeys(name.strip() for name in re.findall(r"^usemtl[ \t]+(.+)$", text, re.MULTILINE))
    )
    if len(names) > MOST_MATERIALS:
        raise refused("model_too_large", f"it has {len(names):,} materials")
    library = _read_libraries(text, fetch, notes)
    gate = PictureGate(limits)
    parts = []
    for name, part in _read_geometry(text, names):
        parts.append(_dress(part, name, library.get(name or ""), fetch, gate, notes))
    return check_model(parts, limits)


def _check_size(text: str, limits: ImportLimits) -> None:
    faces = sum(text.count(start) for start in ("\nf ", "\nf\t"))
    vertices = text.count("\nv ") + text.count("\nv\t")
    if faces > limits.faces or vertices > limits.vertices:
        raise refused(
            "model_too_large",
            f"it has {faces:,} faces and {vertices:,} vertices; at most {limits.faces:,} are taken",
        )
    if not re.search(r"^f\s", text, re.MULTILINE):
        raise refused("empty_mesh", "it has no faces")


def _read_geometry(text: str, names: list[str]) -> list[tuple[str | None, TexturedMesh]]:
    import trimesh
    from trimesh.exchange.obj import load_obj

    text = re.sub(r"^mtllib\b.*$", "", _with_absolute_indices(text), flags=re.MULTILINE)
    if names:
        text = "mtllib names\n" + text
    try:
        loaded = load_obj(io.BytesIO(text.encode()), resolver=_Names(names), group_material=True)
        found = []
        for entry in loaded.get("geometry", {}).values():
            visual = entry.pop("visual", None)
            colours = entry.pop("vertex_colors", None)
            mesh = trimesh.Trimesh(**entry, vertex_colors=colours, process=False)
            part = as_part(mesh)
            uvs = getattr(visual, "uv", None)
            if uvs is not None and len(uvs) == len(part.vertices):
                # OBJ counts v from below, glTF from above
                uvs = np.column_stack([uvs[:, 0], 1.0 - np.asarray(uvs)[:, 1]]).astype(np.float32)
                part = replace(part, uvs=uvs)
            name = getattr(getattr(visual, "material", None), "name", None)
            found.append((name if name in names else None, part))
    except (MemoryError, UnusableInput):
        raise
    except Exception as error:  # whatever a damaged file makes of the reader
        raise broken(f"its OBJ cannot be read ({type(error).__name__})") from error
    return found


def _with_absolute_indices(text: str) -> str:
    """Negative indices count back from the line they are in; the reader would count from the file's end."""
    if not re.search(r"^f.*[ \t/]-", text, re.MULTILINE):
        return text
    counts, lines = {"v": 0, "vt": 0, "vn": 0}, text.split("\n")
    for number, line in enumerate(lines):
        words = line.split()
        if not words:
            continue
        if words[0] in counts:
            counts[words[0]] += 1
        elif words[0] == "f":
            lines[number] = " ".join(["f", *(_absolute(word, tuple(counts.values())) for word in words[1:])])
    return "\n".join(lines)


def _absolute(corner: str, counts: tuple[int, ...]) -> str:
    try:
        indices = [
            str(count + 1 + int(index)) if index.startswith("-") else index
            for index, count in zip(corner.split("/"), counts, strict=False)
        ]
    except ValueError as error:
        raise broken(f"{corner[:40]!r} names no vertex") from error
    if any(index == "0" or index.startswith("-") for index in indices):
        raise broken("a face names a vertex that does not exist")
    return "/".join(indices)


def _read_libraries(text: str, fetch: Fetch, notes: list[str]) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for line in dict.fromkeys(re.findall(r"^mtllib[ \t]+(.+)$", text, re.MULTILINE)):
        content = _fetch_or_note(line.strip(), fetch, notes)
        if content is not None:
            entries |= _parse_library(content.decode("utf-8", "replace"))
    return entries


def _parse_library(text: str) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    entry = _Entry()
    for line in text.splitlines():
        key, _, rest = line.strip().partition(" ")
        key, rest = key.lower(), rest.strip()
        if key == "newmtl":
            entry = entries.setdefault(rest, _Entry())
        elif key in MAPS:
            name = _file_of(rest)
            if name and (key not in ("map_bump", "bump") or re.search("norm|nrm", name, re.IGNORECASE)):
                entry.maps[MAPS[key]] = name
        elif rest:
            try:
                entry.numbers[key] = tuple(float(word) for word in rest.split())
            except ValueError:
                continue
    return entries


def _file_of(rest: str) -> str:
    """The file's name after the options of a map; it may hold spaces."""
    words = rest.split()
    while words and words[0].lower() in OPTION_VALUES:
        most = OPTION_VALUES[words[0].lower()]
        words = words[1:]
        taken = 0
        while taken < most and len(words) > 1 and (taken == 0 or re.fullmatch(r"[-+.\deE]+", words[0])):
            words, taken = words[1:], taken + 1
    return rest[rest.rfind(words[0]) :].strip() if len(words) == 1 else " ".join(words)


def _dress(
    part: TexturedMesh,
    name: str | None,
    entry: _Entry | None,
    fetch: Fetch,
    gate: PictureGate,
    notes: list[str],
) -> TexturedMesh:
    """The part with its material; without a library it is matt."""
    if entry is None:
        return replace(part, material=replace(MATT, name=name or ""))
    textures: dict[str, Texture] = {}
    for kind, file in entry.maps.items():
        content = _fetch_or_note(file, fetch, notes) if part.uvs is not None else None
        if content is not None:
            textures[kind] = gate.take(content)
    material = _material_of(name or "", entry, textured=BASE in textures)
    return with_pictures(replace(part, material=material), textures)


def _material_of(name: str, entry: _Entry, *, textured: bool) -> Material:
    def number(key: str, otherwise: float) -> float:
        return min(1.0, max(0.0, entry.numbers.get(key, (otherwise,))[0]))

    def colour(key: str, otherwise: float) -> tuple[float, float, float]:
        given = entry.numbers.get(key, ())
        values = np.array(given if len(given) == 3 else (otherwise,) * 3, np.float32)
        red, green, blue = (float(v) for v in to_linear(np.clip(np.nan_to_num(values), 0.0, 1.0)))
        return red, green, blue

    opacity = number("d", 1.0 - number("tr", 0.0))
    shine = max(0.0, entry.numbers.get("ns", (0.0,))[0])
    roughness = number("pr", float(np.sqrt(2.0 / (shine + 2.0))) if "ns" in entry.numbers else MATT.roughness)
    diffuse = (1.0, 1.0, 1.0) if textured else colour("kd", 0.8)
    return Material(
        name=name,
        base_colour=(*diffuse, opacity),
        metallic=number("pm", 0.0),
        roughness=roughness,
        emissive_colour=(1.0, 1.0, 1.0) if "emissive" in entry.maps else colour("ke", 0.0),
        alpha_mode="OPAQUE" if opacity >= 1.0 else "BLEND",
        wrap="repeat",
    )


def _fetch_or_note(name: str, fetch: Fetch, notes: list[str]) -> bytes | None:
    """A named file, or a note that it is not there: an OBJ alone is still a shape."""
    try:
        return fetch(name)
    except UnusableInput as error:
        if error.code not in ("missing_file", "external_reference"):
            raise
        notes.append(f"The file {name[:80]!r} that the OBJ names is not there.")
        return None
