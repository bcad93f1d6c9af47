"""Our GLB files: a model to bytes, and back.

Written here and not by a library, so that pictures go in as they are, materials are explicit and equal
models give equal bytes. The decoders read what the encoders write, and files like them of the wrapped
models; anything else, and anything that lies about its lengths, is `BrokenModelOutput`. Strangers' files
are for `importing`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline3d.errors import BrokenModelOutput, UnusableInput
from pipeline3d.geometry.gltf_container import pack, unpack
from pipeline3d.geometry.gltf_nodes import IDENTITY
from pipeline3d.geometry.gltf_reading import DAMAGE, GltfSource, own_arrays, read_placed
from pipeline3d.geometry.gltf_writing import build
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.mesh import Model, TexturedMesh

OUR_LIMITS = ImportLimits(faces=50_000_000, vertices=50_000_000)
"""More than any model that this project makes: such a count is a lie."""


def encode_model(model: Model, *, name: str, extras: dict[str, Any] | None = None) -> bytes:
    """The model as one GLB file; `extras` is what the asset says of its origin.

    One node, one mesh, a primitive for each part. Texture coordinates that no map uses, and parts without
    faces, are left out. Raises BrokenModelOutput `empty_mesh`, `nan_mesh`, `broken_mesh`.
    """
    document, builder = build(model, name=name, extras=extras, embed=True)
    return pack(document, builder.chunks)


def encode_glb(mesh: TexturedMesh, *, name: str, extras: dict[str, Any] | None = None) -> bytes:
    """A model of this one part as GLB."""
    return encode_model(Model(parts=(mesh,)), name=name, extras=extras)


def decode_model(data: bytes) -> Model:
    """The parts of a GLB of ours, in their order. Raises BrokenModelOutput `broken_glb`.

    Attributes that a `TexturedMesh` has no place for (tangents, skins, further coordinates) are ignored;
    transformed nodes and required extensions that change the arrays are refused.
    """
    try:
        document, content = unpack(data)
        source = GltfSource(document, [content], limits=OUR_LIMITS)
        _check_is_plain(document)
        return Model(parts=tuple(own_arrays(part) for part, _, _ in _read_unmoved(source)))
    except UnusableInput as error:
        raise _broken(error.message) from error
    except DAMAGE as error:
        raise _broken(f"it is not as glTF is described ({type(error).__name__}: {error})") from error


def decode_glb(data: bytes) -> TexturedMesh:
    """The one part of a GLB. Raises BrokenModelOutput for everything that is not such a file."""
    parts = decode_model(data).parts
    if len(parts) != 1:
        raise _broken(f"one mesh of triangles is wanted, it has {len(parts)} primitives")
    return parts[0]


def read_document(data: bytes) -> dict[str, Any]:
    """The JSON part of a GLB. Raises BrokenModelOutput."""
    try:
        return unpack(data)[0]
    except UnusableInput as error:
        raise _broken(error.message) from error


def _check_is_plain(document: dict[str, Any]) -> None:
    required = set(document.get("extensionsRequired", [])) - {"EXT_texture_webp"}
    if required:
        raise _broken(f"it needs {', '.join(sorted(map(str, required)))}")
    for mesh in document.get("meshes", []):
        for primitive in mesh["primitives"]:
            if primitive.get("mode", 4) != 4:
                raise _broken("it has points, lines or strips")


def _read_unmoved(source: GltfSource) -> list[Any]:
    placed = list(read_placed(source))
    if not placed:
        raise _broken("it has no mesh")
    if any(not np.array_equal(matrix, IDENTITY) for _, matrix, _ in placed):
        raise _broken("its nodes are transformed")
    return placed


def _broken(reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"The GLB cannot be read: {reason.rstrip('.')}.", code="broken_glb")
