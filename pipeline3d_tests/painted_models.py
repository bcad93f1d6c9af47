"""Small models with known materials, for the tests of pictures."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import trimesh
from PIL import Image

from pipeline3d.geometry.mesh import MATT, Material, Texture, TexturedMesh


def png(pixels: np.ndarray) -> bytes:
    """Encoded."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def flat_png(*colour: int) -> bytes:
    """One colour all over."""
    return png(np.full((16, 16, len(colour)), colour, np.uint8))


def map_of(*colour: int) -> Texture:
    """One colour all over, as a material's map."""
    return Texture(data=flat_png(*colour), mime_type="image/png")


def ball(
    material: Material = MATT, *, centre: Any = (0, 0, 0), radius: float = 1.0, **more: Any
) -> TexturedMesh:
    """A smooth sphere whose picture goes around it once."""
    mesh = trimesh.creation.uv_sphere(radius=radius, count=[24, 24])
    normals = np.asarray(mesh.vertices, np.float32) / radius
    uvs = np.stack([np.arctan2(normals[:, 0], normals[:, 2]) / (2 * np.pi) + 0.5, 0.5 - normals[:, 1] / 2], 1)
    return TexturedMesh(
        vertices=np.asarray(mesh.vertices, np.float32) + np.asarray(centre, np.float32),
        faces=np.asarray(mesh.faces, np.int32),
        normals=normals,
        uvs=uvs.astype(np.float32),
        material=material,
        **more,
    )


def card(
    material: Material = MATT, *, z: float = 0.0, side: float = 1.0, turned: bool = False, **more: Any
) -> TexturedMesh:
    """A square that looks at the front (+Z), or at the back."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * side
    corners[:, 2] = z
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return TexturedMesh(
        vertices=corners,
        faces=faces[:, ::-1].copy() if turned else faces,
        normals=np.tile(np.array([[0, 0, -1 if turned else 1]], np.float32), (4, 1)),
        uvs=np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32),
        material=material,
        **more,
    )
