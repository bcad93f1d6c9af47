"""The model of the geometry benchmarks: a closed, bumpy, textured ball of any number of faces."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipeline3d.geometry.colour_space import to_srgb
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.rendering import smooth_normals

BUMPS = ((3, 2, 0.08), (7, 5, 0.04), (17, 13, 0.012), (41, 29, 0.004))
"""How often around, how often down, how high (of the radius 0.5): coarse forms and fine detail."""


def make_model(faces: int, texture_px: int) -> Model:
    """About so many faces, split along one seam as its texture demands, with a JPEG of noise and stripes."""
    rows = max(4, round((faces / 4) ** 0.5))
    columns = 2 * rows
    across, down = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    azimuth, polar = 2 * np.pi * across, np.pi * down
    radius = np.full_like(across, 0.5)
    for around, downwards, height in BUMPS:
        # of the sine of the polar angle: the bumps vanish where all columns meet
        radius += 0.5 * height * np.sin(around * azimuth) * np.sin(downwards * polar) * np.sin(polar)
    ring = np.sin(polar)
    ring[[0, -1]] = 0.0
    points = np.stack(
        [radius * ring * np.sin(azimuth), radius * np.cos(polar), radius * ring * np.cos(azimuth)], -1
    )
    points[:, -1] = points[:, 0]
    vertices = points.reshape(-1, 3).astype(np.float32)
    corner = np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)
    right, below, across_below = corner + 1, corner + columns + 1, corner + columns + 2
    upper = np.stack([corner, below, right], -1)[1:]
    lower = np.stack([right, below, across_below], -1)[:-1]
    triangles = np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)]).astype(np.int32)
    return Model(
        parts=(
            TexturedMesh(
                vertices=vertices,
                faces=triangles,
                normals=smooth_normals(vertices, triangles),
                uvs=np.stack([across, down], -1).reshape(-1, 2).astype(np.float32),
                texture=draw_texture(texture_px),
            ),
        )
    )


def draw_texture(side: int) -> bytes:
    """A JPEG with soft colours, stripes and some noise: about as hard to compress as a photo."""
    chance = np.random.default_rng(7)
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    waves = [
        0.5 + 0.4 * np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in ((3, 1, 0), (2, 5, 1), (7, 3, 2))
    ]
    linear = np.stack(waves, -1) + chance.normal(0, 0.03, (side, side, 1))
    pixels = np.round(to_srgb(np.clip(linear, 0, 1).astype(np.float32)) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
