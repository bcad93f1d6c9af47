"""A glTF 2.0 document with its buffers as parts: what our own files need, and what strangers' do.

`read_placed` gives every primitive that makes faces with the matrix of its node; what becomes of them (kept
as they are, moved, joined) is the caller's. Counts are checked before anything is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.gltf_accessors import Accessors
from pipeline3d.geometry.gltf_container import Bytes
from pipeline3d.geometry.gltf_materials import Materials
from pipeline3d.geometry.gltf_nodes import Matrix, walk
from pipeline3d.geometry.gltf_primitives import count_faces, makes_faces, read_primitive
from pipeline3d.geometry.import_limits import LIMITS, ImportLimits
from pipeline3d.geometry.mesh import Texture, TexturedMesh
from pipeline3d.geometry.refusals import broken, refused

DAMAGE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What a document that is not as the specification says makes of its reader."""
VALUES_A_VERTEX = 16
"""Numbers: position, normal, tangent, colour, two sets of texture coordinates."""
MAGICS = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"RIFF", "image/webp"))


def no_files(uri: str) -> bytes:
    """For a document whose everything is inside it."""
    raise refused("external_reference", f"it names the file {uri[:80]!r} outside itself")


@dataclass
class GltfSource:
    """A document, its buffers, `fetch` for the pictures it names, and what was found on the way."""

    document: dict[str, Any]
    buffers: list[Bytes]
    fetch: Callable[[str], bytes] = no_files
    check_picture: Callable[[bytes], str] | None = None
    """Gives a picture's type, or refuses it."""
    limits: ImportLimits = LIMITS
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        values = VALUES_A_VERTEX * self.limits.vertices + 3 * self.limits.faces
        self.accessors = Accessors(self.document, self.buffers, most_values=values)
        self._pictures: dict[int, Texture] = {}

    def note(self, sentence: str) -> None:
        """Remember once what of the file is not kept."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def read_image(self, index: int) -> Texture:
        """The picture of an image, as it is encoded."""
        if index not in self._pictures:
            image = self.document["images"][index]
            if "bufferView" in image:
                data = bytes(self.accessors.read_view(image["bufferView"]))
            else:
                data = self.fetch(image["uri"])
            kind = self.check_picture(data) if self.check_picture else _type_of(data, image)
            self._pictures[index] = Texture(data=data, mime_type=kind)
        return self._pictures[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where in the document a part comes from: its node and its primitive, as they are there."""

    node: dict[str, Any]
    primitive: dict[str, Any]


def read_placed(source: GltfSource) -> Iterator[tuple[TexturedMesh, Matrix, Origin]]:
    """Every primitive of the scene that makes faces, its node's matrix and origin. Raises UnusableInput."""
    try:
        yield from _read_placed(source)
    except DAMAGE as error:
        raise broken(
            f"its description does not fit its content ({type(error).__name__}: {str(error)[:120]})"
        ) from error


def _read_placed(source: GltfSource) -> Iterator[tuple[TexturedMesh, Matrix, Origin]]:
    placed = check_placed(source)
    materials = Materials(source.document, source.read_image, source.note)
    read: dict[int, TexturedMesh] = {}
    for primitive, matrix, node in placed:
        if id(primitive) not in read:
            read[id(primitive)] = read_primitive(source.accessors, materials, primitive)
        yield read[id(primitive)], matrix, Origin(node=node, primitive=primitive)


def check_placed(source: GltfSource) -> list[tuple[dict[str, Any], Matrix, dict[str, Any]]]:
    """The primitives that make faces, with matrices and nodes. Raises UnusableInput for too many."""
    placed = list(_find_primitives(source))
    faces = sum(count_faces(source.document, primitive) for primitive, _, _ in placed)
    if faces > source.limits.faces:
        raise refused("model_too_large", f"it has {faces:,} faces; at most {source.limits.faces:,} are taken")
    return placed


def _find_primitives(source: GltfSource) -> Iterator[tuple[dict[str, Any], Matrix, dict[str, Any]]]:
    meshes, found = source.document.get("meshes", []), 0
    for _, node, matrix in walk(source.document, source.limits):
        if "mesh" not in node:
            continue
        number = node["mesh"]
        if not isinstance(number, int) or not 0 <= number < len(meshes):
            raise broken(f"there is no mesh {number!r}")
        for primitive in meshes[number]["primitives"]:
            if not makes_faces(primitive):
                source.note("Points and lines are left out.")
                continue
            found += 1
            if found > source.limits.primitives:
                raise refused("model_too_large", f"it has more than {source.limits.primitives:,} meshes")
            yield primitive, matrix, node


def own_arrays(part: TexturedMesh) -> TexturedMesh:
    """The part with arrays of its own, which can be written to and do not keep the file in memory."""

    def own(array: npt.NDArray[Any] | None) -> Any:
        return None if array is None else np.array(array)

    return replace(
        part,
        vertices=own(part.vertices),
        faces=own(part.faces),
        normals=own(part.normals),
        uvs=own(part.uvs),
        colours=own(part.colours),
    )


def _type_of(data: bytes, image: dict[str, Any]) -> str:
    for magic, kind in MAGICS:
        if data.startswith(magic):
            return kind
    return str(image.get("mimeType", "image/jpeg"))
