"""Whether a GLB keeps to glTF 2.0: our own check, for reports that are made where there is no Node.

It looks at what this project and other exporters of plain models write: the container (section 4.4),
references, materials, pictures and extension names here, numbers in `structure_data`. It does not look at
animations, skins, cameras, lights and into compressed data; each of these is said as `info`. Codes are
those of the Khronos validator where it has one for the same.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from typing import Any

from pipeline3d.geometry.complaints import Complaint, Complaints, object_of, objects_of, whole
from pipeline3d.geometry.structure_data import Span, check_data

MAGIC, VERSION = 0x46546C67, 2
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
HEADER_BYTES, CHUNK_HEADER_BYTES, WORD = 12, 8, 4
ROTATION_TOLERANCE = 0.00769
"""The Khronos validator's for unit quaternions."""
PICTURE_MAGICS = {
    "image/jpeg": (0, b"\xff\xd8\xff"),
    "image/png": (0, b"\x89PNG\r\n\x1a\n"),
    "image/webp": (8, b"WEBP"),
    "image/ktx2": (0, b"\xabKTX 20\xbb\r\n\x1a\n"),
}
EXTENSION_OF_PICTURE = {"image/webp": "EXT_texture_webp", "image/ktx2": "KHR_texture_basisu"}
NOT_LOOKED_INTO = ("animations", "skins", "cameras")
MATERIAL_TEXTURES = ("normalTexture", "occlusionTexture", "emissiveTexture")
PBR_TEXTURES = ("baseColorTexture", "metallicRoughnessTexture")
ALPHA_MODES = ("OPAQUE", "MASK", "BLEND")


def check_glb(data: bytes) -> list[Complaint]:
    """All complaints about a GLB, none for a clean one. Never raises, whatever the bytes are."""
    complaints = Complaints()
    try:
        unpacked = _check_container(data, complaints)
        if unpacked is not None:
            _check_document(*unpacked, complaints)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        complaints.error("UNREADABLE", "", f"its parts do not fit ({type(error).__name__}: {error})")
    return complaints.all()


def _check_container(data: bytes, complaints: Complaints) -> tuple[dict[str, Any], bytes] | None:
    if len(data) < HEADER_BYTES + CHUNK_HEADER_BYTES:
        complaints.error("GLB_UNEXPECTED_END_OF_HEADER", "", f"{len(data)} bytes are no GLB")
        return None
    magic, version, total = struct.unpack_from("<III", data)
    if magic != MAGIC or version != VERSION:
        complaints.error("GLB_INVALID_MAGIC", "", "it does not begin like binary glTF 2.0")
        return None
    if total != len(data):
        complaints.error("GLB_LENGTH_MISMATCH", "", f"it says {total} bytes and has {len(data)}")
        return None
    chunks: list[tuple[int, bytes]] = []
    at = HEADER_BYTES
    while at < len(data):
        length, kind = (
            struct.unpack_from("<II", data, at) if at + CHUNK_HEADER_BYTES <= len(data) else (0, -1)
        )
        at += CHUNK_HEADER_BYTES
        if kind == -1 or at + length > len(data):
            complaints.error("GLB_CHUNK_TOO_BIG", "", f"chunk {len(chunks)} is longer than the file")
            return None
        if length % WORD:
            complaints.error("GLB_CHUNK_LENGTH_UNALIGNED", "", f"chunk {len(chunks)} has {length} bytes")
        chunks.append((kind, data[at : at + length]))
        at += length
    if chunks[0][0] != JSON_CHUNK:
        complaints.error("GLB_UNEXPECTED_FIRST_CHUNK", "", "the first chunk is not JSON")
        return None
    try:
        document = json.loads(chunks[0][1], parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        complaints.error("INVALID_JSON", "", f"its JSON cannot be read ({error})")
        return None
    if not isinstance(document, dict):
        complaints.error("TYPE_MISMATCH", "", "its JSON is no object")
        return None
    content = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == BINARY_CHUNK else b""
    return document, content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _check_document(document: dict[str, Any], content: bytes, complaints: Complaints) -> None:
    if object_of(document, "asset").get("version") != "2.0":
        complaints.error("UNKNOWN_ASSET_MAJOR_VERSION", "/asset/version", "it is not glTF 2.0")
    for name in NOT_LOOKED_INTO:
        if document.get(name):
            complaints.info("NOT_CHECKED", f"/{name}", f"{name} were not looked into")
    _check_extensions(document, complaints)
    _check_buffers(document, content, complaints)
    _check_nodes(document, complaints)
    _check_meshes(document, complaints)
    _check_materials(document, complaints)
    _check_textures(document, complaints)
    spans = check_data(document, content, complaints)
    _check_images(document, content, spans, complaints)


def _walk(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document with its pointer; without recursion. What `extras` hold is anyone's."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        pointer, item = waiting.pop()
        if isinstance(item, dict):
            yield pointer, item
            waiting.extend((f"{pointer}/{key}", below) for key, below in item.items() if key != "extras")
        elif isinstance(item, list) and item and not isinstance(item[0], (int, float, str)):
            waiting.extend((f"{pointer}/{number}", below) for number, below in enumerate(item))


def _check_extensions(document: dict[str, Any], complaints: Complaints) -> None:
    names: dict[str, set[str]] = {}
    for field in ("extensionsUsed", "extensionsRequired"):
        found = document.get(field, [])
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            complaints.error("TYPE_MISMATCH", f"/{field}", "is no list of names")
            found = []
        elif field in document and not found:
            complaints.error("EMPTY_ENTITY", f"/{field}", "is an empty list")
        names[field] = set(found)
    used = names["extensionsUsed"]
    for name in sorted(names["extensionsRequired"] - used):
        complaints.error(
            "UNUSED_EXTENSION_REQUIRED", "/extensionsRequired", f"{name} is required, not declared"
        )
    met: set[str] = set()
    for pointer, item in _walk(document):
        for name in object_of(item, "extensions"):
            if name not in used and name not in met:
                complaints.error("UNDECLARED_EXTENSION", f"{pointer}/extensions/{name}", "is not declared")
            met.add(name)
    # Quantization is announced by its name alone: it has no object anywhere.
    for name in sorted(used - met - {"KHR_mesh_quantization"}):
        complaints.info("UNUSED_EXTENSION", "/extensionsUsed", f"{name} is declared and not used")


def _check_buffers(document: dict[str, Any], content: bytes, complaints: Complaints) -> None:
    for number, buffer in enumerate(objects_of(document, "buffers", "", complaints)):
        pointer, length = f"/buffers/{number}", whole(buffer.get("byteLength"))
        if not length:
            complaints.error("VALUE_NOT_IN_RANGE", f"{pointer}/byteLength", "a buffer has at least one byte")
        elif "uri" in buffer:
            complaints.error("EXTERNAL_REFERENCE", f"{pointer}/uri", "its bytes are not in this file")
        elif number == 0 and length > len(content):
            complaints.error(
                "BUFFER_GLB_CHUNK_TOO_SMALL", pointer, f"says {length}, the chunk has {len(content)}"
            )
        elif number == 0 and len(content) - length >= WORD:
            complaints.warning(
                "GLB_CHUNK_TOO_BIG_FOR_BUFFER", pointer, f"{len(content) - length} bytes unused"
            )


def _refer(holder: dict[str, Any], name: str, count: int, pointer: str, complaints: Complaints) -> int | None:
    """The number under `name` where it names one of `count` things; None, with a complaint, where not."""
    if name not in holder:
        return None
    index = whole(holder[name])
    if index is None or index >= count:
        complaints.error(
            "UNRESOLVED_REFERENCE", f"{pointer}/{name}", f"{holder[name]!r} names none of {count}"
        )
        return None
    return index


def _numbers(holder: dict[str, Any], name: str) -> list[Any]:
    found = holder.get(name, [])
    return found if isinstance(found, list) else [found]


def _check_nodes(document: dict[str, Any], complaints: Complaints) -> None:
    nodes = objects_of(document, "nodes", "", complaints)
    scenes = objects_of(document, "scenes", "", complaints)
    meshes = len(_numbers(document, "meshes"))
    _refer(document, "scene", len(scenes), "", complaints)
    parents: dict[int, int] = {}
    for number, node in enumerate(nodes):
        pointer = f"/nodes/{number}"
        _refer(node, "mesh", meshes, pointer, complaints)
        _check_transform(node, pointer, complaints)
        for child in _numbers(node, "children"):
            if whole(child) is None or child >= len(nodes):
                complaints.error("UNRESOLVED_REFERENCE", f"{pointer}/children", f"there is no node {child!r}")
            elif child in parents:
                complaints.error(
                    "NODE_PARENT_OVERRIDE", f"{pointer}/children", f"node {child} has two parents"
                )
            else:
                parents[child] = number
    _check_cycles(parents, complaints)
    for number, scene in enumerate(scenes):
        for root in _numbers(scene, "nodes"):
            if whole(root) is None or root >= len(nodes):
                complaints.error(
                    "UNRESOLVED_REFERENCE", f"/scenes/{number}/nodes", f"there is no node {root!r}"
                )
            elif root in parents:
                complaints.error(
                    "SCENE_NON_ROOT_NODE", f"/scenes/{number}/nodes", f"node {root} has a parent"
                )


def _check_cycles(parents: dict[int, int], complaints: Complaints) -> None:
    """Each node has one parent at most, so walking up meets a node of the same walk only in a circle."""
    walked: dict[int, int] = {}
    for start in parents:
        node = start
        while node in parents and node not in walked:
            walked[node] = start
            node = parents[node]
        if node in parents and walked.get(node) == start:
            complaints.error("NODE_LOOP", f"/nodes/{node}", "is its own ancestor")


def _check_transform(node: dict[str, Any], pointer: str, complaints: Complaints) -> None:
    for name, length in (("matrix", 16), ("translation", 3), ("rotation", 4), ("scale", 3)):
        if name not in node:
            continue
        values = node[name]
        if not (
            isinstance(values, list)
            and len(values) == length
            and all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
        ):
            complaints.error(
                "ARRAY_LENGTH_NOT_IN_LIST", f"{pointer}/{name}", f"is no list of {length} numbers"
            )
        elif name == "rotation" and abs(math.hypot(*values) - 1) > ROTATION_TOLERANCE:
            complaints.error("ROTATION_NON_UNIT", f"{pointer}/rotation", "is no unit quaternion")
    if "matrix" in node and {"translation", "rotation", "scale"} & set(node):
        complaints.error("NODE_MATRIX_TRS", pointer, "has both a matrix and its parts")


def _check_meshes(document: dict[str, Any], complaints: Complaints) -> None:
    materials = objects_of(document, "materials", "", Complaints())
    for number, mesh in enumerate(objects_of(document, "meshes", "", complaints)):
        primitives = objects_of(mesh, "primitives", f"/meshes/{number}", complaints)
        if not primitives:
            complaints.error("UNDEFINED_PROPERTY", f"/meshes/{number}/primitives", "a mesh has primitives")
        for part, primitive in enumerate(primitives):
            pointer = f"/meshes/{number}/primitives/{part}"
            if not object_of(primitive, "attributes"):
                complaints.error("EMPTY_ENTITY", f"{pointer}/attributes", "a primitive has attributes")
            material = _refer(primitive, "material", len(materials), pointer, complaints)
            if material is not None:
                _check_coordinates(materials[material], primitive, pointer, complaints)


def _check_coordinates(
    material: dict[str, Any], primitive: dict[str, Any], pointer: str, complaints: Complaints
) -> None:
    attributes = object_of(primitive, "attributes")
    for name, info in _texture_infos(material):
        wanted = f"TEXCOORD_{info.get('texCoord', 0)}"
        if wanted not in attributes:
            complaints.error("MESH_PRIMITIVE_TOO_FEW_TEXCOORDS", pointer, f"{name} needs {wanted}")
    if "normalTexture" in material and "TANGENT" not in attributes:
        complaints.info("MESH_PRIMITIVE_GENERATED_TANGENT_SPACE", pointer, "viewers compute its tangents")


def _texture_infos(material: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    pbr = object_of(material, "pbrMetallicRoughness")
    for holder, names in ((pbr, PBR_TEXTURES), (material, MATERIAL_TEXTURES)):
        for name in names:
            if isinstance(holder.get(name), dict):
                yield name, holder[name]


def _check_materials(document: dict[str, Any], complaints: Complaints) -> None:
    textures = len(_numbers(document, "textures"))
    for number, material in enumerate(objects_of(document, "materials", "", complaints)):
        pointer = f"/materials/{number}"
        for name, info in _texture_infos(material):
            if "index" not in info:
                complaints.error("UNDEFINED_PROPERTY", f"{pointer}/{name}/index", "names no texture")
            _refer(info, "index", textures, f"{pointer}/{name}", complaints)
        if material.get("alphaMode", "OPAQUE") not in ALPHA_MODES:
            complaints.error(
                "VALUE_NOT_IN_LIST", f"{pointer}/alphaMode", f"{material['alphaMode']!r} is none"
            )
        pbr = object_of(material, "pbrMetallicRoughness")
        for holder, name in ((pbr, "metallicFactor"), (pbr, "roughnessFactor")):
            value = holder.get(name, 1)
            if not isinstance(value, (int, float)) or not 0 <= value <= 1:
                complaints.error("VALUE_NOT_IN_RANGE", f"{pointer}/{name}", f"{value!r} is not in 0 to 1")
        for holder, name, length in ((pbr, "baseColorFactor", 4), (material, "emissiveFactor", 3)):
            colour = holder.get(name, [1] * length)
            if (
                not isinstance(colour, list)
                or len(colour) != length
                or not all(isinstance(value, (int, float)) and 0 <= value <= 1 for value in colour)
            ):
                complaints.error("VALUE_NOT_IN_RANGE", f"{pointer}/{name}", f"{colour!r} is no colour")


def _check_textures(document: dict[str, Any], complaints: Complaints) -> None:
    images, samplers = len(_numbers(document, "images")), len(_numbers(document, "samplers"))
    for number, texture in enumerate(objects_of(document, "textures", "", complaints)):
        pointer = f"/textures/{number}"
        _refer(texture, "source", images, pointer, complaints)
        _refer(texture, "sampler", samplers, pointer, complaints)
        extensions = object_of(texture, "extensions")
        for name in EXTENSION_OF_PICTURE.values():
            _refer(object_of(extensions, name), "source", images, f"{pointer}/extensions/{name}", complaints)


def _check_images(
    document: dict[str, Any], content: bytes, spans: list[Span | None], complaints: Complaints
) -> None:
    used = _numbers(document, "extensionsUsed")
    for number, image in enumerate(objects_of(document, "images", "", complaints)):
        pointer, mime_type = f"/images/{number}", image.get("mimeType")
        if "uri" in image:
            complaints.error("EXTERNAL_REFERENCE", f"{pointer}/uri", "the picture is not in this file")
            continue
        if "bufferView" not in image:
            complaints.error("ONE_OF_MISMATCH", pointer, "has no picture")
            continue
        view = _refer(image, "bufferView", len(spans), pointer, complaints)
        if not isinstance(mime_type, str) or mime_type not in PICTURE_MAGICS:
            complaints.error(
                "VALUE_NOT_IN_LIST", f"{pointer}/mimeType", f"{mime_type!r} is no picture's type"
            )
            continue
        needed = EXTENSION_OF_PICTURE.get(mime_type)
        if needed is not None and needed not in used:
            complaints.error("UNDECLARED_EXTENSION", pointer, f"{mime_type} needs {needed}")
        span = spans[view] if view is not None else None
        if span is not None:
            offset, magic = PICTURE_MAGICS[mime_type]
            if not content.startswith(magic, span.start + offset) or span.length < offset + len(magic):
                complaints.error("IMAGE_MIME_TYPE_INVALID", pointer, f"its bytes are not {mime_type}")
