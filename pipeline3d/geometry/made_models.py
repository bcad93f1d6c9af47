"""A GLB that a wrapped model made, as one mesh: nodes applied, parts joined, one texture or vertex colours.

Read by trimesh, which knows what exporters write. Nothing of the file is trusted: what has no faces, or
coordinates that are no numbers, is `BrokenModelOutput`.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.rendering import smooth_normals

SMALLEST_GLB = 200
"""Bytes; an export without any mesh has 172."""
MOST_FACES = 5_000_000
PNG, JPEG = "image/png", "image/jpeg"


def import_model(data: bytes) -> TexturedMesh:
    """The one surface of a GLB. Raises BrokenModelOutput `empty_mesh`, `nan_mesh`, `broken_glb`."""
    parts = _read_parts(data)
    if len(parts) == 1:
        return _as_mesh(parts[0])
    if any(_picture_of(part) is not None for part in parts):
        raise _broken("broken_glb", "it has several textured parts, and one is wanted")
    import trimesh

    return _as_mesh(trimesh.util.concatenate(parts))


def _read_parts(data: bytes) -> list[Any]:
    import trimesh

    if data[:4] != b"glTF":
        raise _broken("broken_glb", "it is no GLB")
    if len(data) < SMALLEST_GLB:
        raise _broken("empty_mesh", f"{len(data)} bytes hold no mesh")
    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)
        parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]
    except Exception as error:  # whatever a damaged file makes of the reader
        raise _broken("broken_glb", f"it cannot be read ({type(error).__name__})") from error
    if not parts:
        raise _broken("empty_mesh", "it has no faces")
    faces = sum(len(part.faces) for part in parts)
    if faces > MOST_FACES:
        raise _broken("mesh_too_large", f"it has {faces:,} faces; at most {MOST_FACES:,} are taken")
    if any(part.faces.min() < 0 or part.faces.max() >= len(part.vertices) for part in parts):
        raise _broken("broken_glb", "a face names a vertex that does not exist")
    if not all(np.isfinite(part.vertices).all() for part in parts):
        raise _broken("nan_mesh", "some of its coordinates are no numbers")
    return parts


def _as_mesh(part: Any) -> TexturedMesh:
    vertices = np.asarray(part.vertices, np.float32)
    faces = np.asarray(part.faces, np.int32)
    uvs, picture = _texture_of(part)
    colours = None
    if picture is None:
        colours = _colours_of(part)
        uvs = None
    return TexturedMesh(
        vertices=vertices,
        faces=faces,
        normals=_normals_of(part, vertices, faces),
        uvs=uvs,
        texture=None if picture is None else picture[0],
        texture_mime_type=JPEG if picture is None else picture[1],
        colours=colours,
    )


def _texture_of(part: Any) -> tuple[npt.NDArray[np.float32] | None, tuple[bytes, str] | None]:
    picture, uv = _picture_of(part), getattr(part.visual, "uv", None)
    if picture is None or uv is None or len(uv) != len(part.vertices):
        return None, None
    opaque = picture.mode in ("RGB", "L")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if opaque else "PNG", **({"quality": 92} if opaque else {}))
    # trimesh counts v from below, glTF from above
    flipped = np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]).astype(np.float32)
    return flipped, (buffer.getvalue(), JPEG if opaque else PNG)


def _picture_of(part: Any) -> Any:
    material = getattr(part.visual, "material", None)
    return getattr(material, "baseColorTexture", None) if material is not None else None


def _colours_of(part: Any) -> npt.NDArray[np.uint8]:
    """Linear RGBA: glTF's COLOR_0 is linear already; a material's factor is too."""
    count = len(part.vertices)
    if part.visual.kind == "vertex":
        return np.asarray(part.visual.vertex_colors, np.uint8).reshape(count, 4)
    factor = getattr(getattr(part.visual, "material", None), "baseColorFactor", None)
    if factor is None:
        grey = to_linear(np.full(3, 0.7, np.float32))
        return np.tile(np.append(np.round(grey * 255), 255).astype(np.uint8), (count, 1))
    return np.tile(np.asarray(factor, np.uint8), (count, 1))


def _normals_of(part: Any, vertices: Any, faces: Any) -> npt.NDArray[np.float32]:
    if "vertex_normals" in part._cache and len(part.vertex_normals) == len(vertices):
        normals = np.asarray(part.vertex_normals, np.float32)
        lengths = np.linalg.norm(normals, axis=1)
        if np.isfinite(normals).all() and (np.abs(lengths - 1.0) < 0.01).all():
            return normals
    normals = smooth_normals(vertices, faces)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    # A vertex whose faces cancel out has no direction: any unit one is as good.
    up = np.array([0.0, 1.0, 0.0], np.float32)
    return np.where(lengths > 0, normals / np.maximum(lengths, 1e-12), up).astype(np.float32)


def _broken(code: str, reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"The model's file cannot be used: {reason}.", code=code)
