"""A stranger's GLB or glTF as a model: nodes applied, parts joined by material, every map of ours kept.

Nothing is fetched from anywhere but the file itself and, where it came in an archive, its neighbours.
A figure stands as its skeleton does in the file; morph targets and animations are left out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from pipeline3d.geometry import draco_codec, meshopt_codec
from pipeline3d.geometry.gltf_container import Bytes, parse_document, unpack
from pipeline3d.geometry.gltf_nodes import Matrix
from pipeline3d.geometry.gltf_reading import DAMAGE, GltfSource, Origin, no_files, read_placed
from pipeline3d.geometry.gltf_skins import Skins
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.import_parts import check_model, join_by_material, keep_used_vertices, place
from pipeline3d.geometry.import_pictures import PictureGate
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.refusals import broken, refused

COMPRESSED = {*meshopt_codec.READABLE, draco_codec.EXTENSION}
UNDERSTOOD = {"EXT_texture_webp", "KHR_mesh_quantization", "KHR_texture_transform"}
HARMLESS = ("KHR_materials_", "KHR_lights_", "KHR_animation_", "KHR_xmp_", "MSFT_lod", "KHR_audio")
"""What begins so adds to the look or the behaviour; the shape is right without it."""
REMOTE = ("http:", "https:", "ftp:", "file:", "//")
MOST_ENTRIES = 1_000_000

Fetch = Callable[[str], bytes]


def read_glb(data: bytes, limits: ImportLimits, notes: list[str], *, fetch: Fetch = no_files) -> Model:
    """A stranger's GLB. Raises UnusableInput."""
    document, content = unpack(data)
    return _read(document, content, limits, notes, fetch)


def read_gltf(text: bytes, limits: ImportLimits, notes: list[str], *, fetch: Fetch = no_files) -> Model:
    """A stranger's .gltf; `fetch` gives the files that it names. Raises UnusableInput."""
    return _read(parse_document(text), None, limits, notes, fetch)


def _read(
    document: dict[str, Any], content: Bytes | None, limits: ImportLimits, notes: list[str], fetch: Fetch
) -> Model:
    try:
        compressed = _check_document(document, limits)
        buffers = _read_buffers(document, content, guarded(fetch), limits)
        if compressed:
            from pipeline3d.geometry.web_reading import expand

            document, buffers = expand(document, buffers, limits=limits)
        gate = PictureGate(limits)
        source = GltfSource(document, buffers, guarded(fetch), gate.check, limits, notes)
        skins = Skins(document, source.accessors, limits)
        parts = [_in_place(*placed, skins) for placed in read_placed(source)]
        return check_model(join_by_material(parts), limits)
    except DAMAGE as error:
        raise broken(
            f"it is not as glTF is described ({type(error).__name__}: {str(error)[:120]})"
        ) from error


def _in_place(part: TexturedMesh, matrix: Matrix, origin: Origin, skins: Skins) -> TexturedMesh:
    """The part in the scene's coordinates; joints move a skinned one, and its node does not."""
    attributes = origin.primitive["attributes"]
    if "skin" in origin.node and "JOINTS_0" in attributes and "WEIGHTS_0" in attributes:
        return keep_used_vertices(skins.pose(part, origin.node["skin"], attributes))
    return place(keep_used_vertices(part), matrix)


def _check_document(document: dict[str, Any], limits: ImportLimits) -> bool:
    """Whether it needs decompression. Raises UnusableInput for what cannot be read."""
    version = str(document["asset"]["version"])
    if not version.startswith("2."):
        raise refused("unsupported_format", f"it is glTF {version[:20]}; version 2.0 is read")
    required = set(map(str, document.get("extensionsRequired", [])))
    unknown = {name for name in required - COMPRESSED - UNDERSTOOD if not name.startswith(HARMLESS)}
    if unknown:
        raise refused("unsupported_extension", f"it needs {', '.join(sorted(unknown))[:200]}")
    for kind in ("accessors", "bufferViews", "materials", "textures", "images", "meshes"):
        if len(document.get(kind, [])) > MOST_ENTRIES:
            raise refused("model_too_large", f"it has {len(document[kind]):,} {kind}")
    if len(document.get("images", [])) > limits.pictures:
        raise refused("model_too_large", f"it has {len(document['images']):,} pictures")
    return bool(required & COMPRESSED)


def _read_buffers(
    document: dict[str, Any], content: Bytes | None, fetch: Fetch, limits: ImportLimits
) -> list[Bytes]:
    buffers: list[Bytes] = []
    total = 0
    for number, buffer in enumerate(document.get("buffers", [])):
        data: Bytes = b""
        if "uri" in buffer:
            data = fetch(buffer["uri"])
        elif number == 0 and content is not None:
            data = content
        length = buffer["byteLength"]
        if not isinstance(length, int) or length < 0:
            raise broken(f"a buffer has {length!r} bytes")
        fallback = any(name in buffer.get("extensions", {}) for name in COMPRESSED)
        if length > len(data) and not fallback:
            raise broken(f"buffer {number} says {length:,} bytes and has {len(data):,}")
        total += len(data)
        if total > limits.archive_bytes:
            raise refused("model_too_large", f"its buffers have more than {limits.archive_bytes:,} bytes")
        buffers.append(memoryview(data)[:length])
    return buffers


def guarded(fetch: Fetch) -> Fetch:
    """`fetch` for relative names; data URIs are decoded, and nothing is ever taken from a network."""

    def read(uri: str) -> bytes:
        if not isinstance(uri, str):
            raise broken(f"{str(uri)[:80]!r} is no URI")
        if uri.startswith("data:"):
            return _decode_data_uri(uri)
        if uri.lower().startswith(REMOTE) or ":" in uri.split("/")[0]:
            raise refused("external_reference", f"it names {uri[:80]!r}, which is not fetched")
        return fetch(uri)

    return read


def _decode_data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise broken("a data URI is not base64")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise broken("a data URI is damaged") from error
