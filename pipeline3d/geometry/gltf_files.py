"""glTF as separate files: the JSON, the binary content and each picture under a name of its own.

What `encode_model` puts into one file, for programs and people that want to look at the pieces.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline3d.geometry.gltf_writing import build
from pipeline3d.geometry.import_gltf import read_gltf
from pipeline3d.geometry.import_limits import LIMITS, ImportLimits
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.refusals import refused

SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}


def write_gltf(model: Model, folder: Path, *, name: str, extras: dict[str, Any] | None = None) -> list[Path]:
    """Write `name`.gltf, `name`.bin and the pictures; the paths, the .gltf first.

    Equal models give equal files. Raises BrokenModelOutput as `encode_model` does.
    """
    document, builder = build(model, name=name, extras=extras, embed=False)
    content = b"".join((*builder.chunks, b"\0" * (-builder.length % 4)))
    document["buffers"][0]["uri"] = f"{name}.bin"
    files = {f"{name}.bin": content}
    for number, (image, picture) in enumerate(zip(builder.images, builder.pictures, strict=True)):
        file = f"{name}_{number}{SUFFIXES[picture.mime_type]}"
        image["uri"] = file
        del image["mimeType"]
        files[file] = picture.data
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    files = {f"{name}.gltf": text.encode(), **files}
    for file, data in files.items():
        (folder / file).write_bytes(data)
    return [folder / file for file in files]


def read_gltf_files(path: Path, *, limits: ImportLimits = LIMITS) -> Model:
    """The model of a .gltf that lies beside its files, as `write_gltf` leaves it. Raises UnusableInput."""

    def fetch(reference: str) -> bytes:
        if Path(reference).name != reference:
            raise refused("external_reference", f"it names {reference[:80]!r} outside its folder")
        beside = path.parent / reference
        if beside.is_symlink() or not beside.is_file():
            raise refused("missing_file", f"it names {reference[:80]!r}, which is not there")
        return beside.read_bytes()

    return read_gltf(path.read_bytes(), limits, [], fetch=fetch)
