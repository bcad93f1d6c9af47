"""A file that somebody uploaded, as a model: GLB, glTF, OBJ, STL, PLY, 3MF, or a ZIP of one with its files.

Nothing of it is believed: sizes, counts and references are checked before the content is read, coordinates
after, and nothing outside it is opened. Everything that cannot be used is `UnusableInput` with a code that
says why (`refusals.HINTS` lists them). A reader may still crash or run long on a file made for that, so what
comes from outside is read by `import_child.import_in_child`, which does the same in a process of its own.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline3d.geometry.import_3mf import read_3mf
from pipeline3d.geometry.import_archives import Archive, open_archive
from pipeline3d.geometry.import_gltf import read_glb, read_gltf
from pipeline3d.geometry.import_limits import LIMITS, ImportLimits
from pipeline3d.geometry.import_meshes import read_ply, read_stl
from pipeline3d.geometry.import_obj import read_obj
from pipeline3d.geometry.made_models import import_model
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.refusals import broken, printable, refused

__all__ = ["Format", "Imported", "import_file", "import_model", "read_file"]

Format = Literal["glb", "gltf", "obj", "stl", "ply", "3mf"]
FORMATS: tuple[Format, ...] = ("glb", "gltf", "obj", "stl", "ply", "3mf")
HEAD_BYTES = 4096
MOST_NOTES = 20
"""They go with the file wherever it is recorded; a hostile one has something to say of each of its parts."""
Fetch = Callable[[str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imported:
    """A model, the format that it came in, and a sentence for each thing that could not be kept."""

    model: Model
    format: Format
    notes: tuple[str, ...] = ()


def import_file(path: Path, *, limits: ImportLimits = LIMITS) -> Model:
    """The model of a stranger's file, Y up; in metres where the format has units. Raises UnusableInput."""
    return read_file(path, limits=limits).model


def read_file(path: Path, *, limits: ImportLimits = LIMITS) -> Imported:
    """As `import_file`, with what was found on the way. The content decides the format, the name helps."""
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise refused("model_too_large", f"it has {size:,} bytes; at most {limits.file_bytes:,} are taken")
    if size == 0:
        raise broken("it is empty")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"PK"):
        with open_archive(path, limits) as archive:
            return _read_archive(archive, limits)
    kind = recognise(head, path.name)
    return _read_content(path.read_bytes(), kind, limits, _nothing_beside)


def recognise(head: bytes, name: str) -> Format:
    """The format by how a file begins and what it is called. Raises UnusableInput `unsupported_format`."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"glTF"):
        return "glb"
    if head.startswith((b"ply\n", b"ply\r")):
        return "ply"
    if text.startswith(b"{") and (b'"asset"' in head or name.lower().endswith(".gltf")):
        return "gltf"
    suffix = posixpath.splitext(name.lower())[1].lstrip(".")
    if suffix == "3mf":
        raise refused("archive_refused", "it is no 3MF, which is a ZIP archive")
    for known in FORMATS:
        if suffix == known:
            return known
    raise refused("unsupported_format", f"{name[:80]!r} is of no format that is read")


def _read_archive(archive: Archive, limits: ImportLimits) -> Imported:
    if any(name.lower().endswith("3d/3dmodel.model") for name in archive.entries):
        notes: list[str] = []
        return Imported(model=read_3mf(archive, limits, notes), format="3mf", notes=_shorten(notes))
    name = archive.find_model()
    data = archive.read(name)
    kind = recognise(data[:HEAD_BYTES], name)
    anywhere = kind == "obj"

    def fetch(reference: str) -> bytes:
        find = archive.fetch_anywhere if anywhere else archive.fetch
        return find(reference, beside=name)

    return _read_content(data, kind, limits, fetch)


def _read_content(data: bytes, kind: Format, limits: ImportLimits, fetch: Fetch) -> Imported:
    notes: list[str] = []
    if kind == "glb":
        model = read_glb(data, limits, notes, fetch=fetch)
    elif kind == "gltf":
        model = read_gltf(data, limits, notes, fetch=fetch)
    elif kind == "obj":
        model = read_obj(data, limits, notes, fetch=fetch)
    elif kind == "stl":
        model = read_stl(data, limits, notes)
    else:
        model = read_ply(data, limits, notes)
    return Imported(model=model, format=kind, notes=_shorten(notes))


def _shorten(notes: list[str]) -> tuple[str, ...]:
    """Each note once, and not too many."""
    told = [printable(note) for note in dict.fromkeys(notes)]
    more = len(told) - MOST_NOTES
    return (*told[:MOST_NOTES], *([f"{more:,} further notes are left out."] if more > 0 else []))


def _nothing_beside(reference: str) -> bytes:
    raise refused("external_reference", f"it names the file {reference[:80]!r} outside itself")
