"""The soft shadow where a model stands: how much of the sky it hides from the ground, seen in perspective.

The model is looked at from below; ground near its surface is dark, and the dark spreads. So a table has a
shadow at each foot and a lighter one under its top, and a ball one where it touches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.cameras import Viewpoint
from pipeline3d.geometry.rasterising import rasterise, set_up_triangles
from pipeline3d.geometry.scenes import Scene

Floats = npt.NDArray[np.float32]

CELLS = 160
"""Of the map and side."""
REACH = 1.9
"""Half the side of the map, in radii of the model."""
FAR = 400.0
"""From so far below, perspective is a few thousandths: a plan."""
FADES = 0.95, 1.2
"""Distances from the middle, in radii, between which it fades: pictures' edges must not cut through it."""
FRAME = 0.06
"""Share of a picture's side along its edges over which it fades as well."""
LAYERS = ((0.05, 0.022, 0.85), (0.3, 0.08, 0.5), (1.0, 0.2, 0.35))
"""Height up to which a surface darkens the ground, how far that spreads, and how much, in radii."""
COARSE = 2
"""The shadow has no detail: it is worked out for every second pixel and enlarged."""
HORIZON = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class GroundShadow:
    """`darkness` (CELLS,CELLS) 0 to 1 of the ground at `level`, rows along z, columns along x."""

    darkness: Floats
    level: float

    def seen_from(self, viewpoint: Viewpoint, size_px: int) -> Floats:
        """Darkness of each pixel (size_px,size_px)."""
        import cv2

        count = max(size_px // COARSE, 1)
        steps = ((np.arange(count) + 0.5) * viewpoint.side / count).astype(np.float32)
        x, y = np.meshgrid(steps, steps)
        rays = viewpoint.rays(x, y) @ viewpoint.axes
        down = rays[..., 1]
        above = self.level - float(viewpoint.eye[1])
        meets = (down < -HORIZON) & (above < 0)
        along = np.where(meets, above / np.where(meets, down, -1), 0)[..., None]
        ground = viewpoint.eye[[0, 2]] + rays[..., [0, 2]] * along
        cells = ((ground / REACH + 1) / 2 * CELLS - 0.5).astype(np.float32)
        seen = cv2.remap(
            self.darkness, cells[..., 0], cells[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        seen = np.where(meets, seen, np.float32(0))
        large = cv2.resize(seen, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large * frame_fade(size_px), np.float32)


def cast_shadow(scene: Scene) -> GroundShadow:
    """What the model hides from the plane that it stands on."""
    import cv2

    level = float(scene.vertices[:, 1].min())
    axes = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    below = Viewpoint(
        np.array([0, level - FAR, 0], np.float32), axes, CELLS / 2 / REACH * FAR, CELLS
    )  # columns grow with x, rows with z
    everything = np.ones(len(scene.faces), bool)
    seen = rasterise(set_up_triangles(scene.vertices, scene.faces, below, everything), CELLS)
    height = np.full(CELLS * CELLS, np.inf, np.float32)
    points = scene.vertices[scene.faces[seen.face]][..., 1]
    height[seen.pixel] = np.einsum("ij,ij->i", points, seen.weights) - np.float32(level)
    heights = height.reshape(CELLS, CELLS)
    lightness = np.ones((CELLS, CELLS), np.float32)
    for reach, spread, strength in LAYERS:
        hidden = np.exp(-np.maximum(heights, 0) / np.float32(reach)).astype(np.float32)
        sigma = spread * CELLS / 2 / REACH
        lightness *= 1 - np.float32(strength) * cv2.GaussianBlur(hidden, (0, 0), sigma)
    return GroundShadow(fade(1 - lightness), level)


def frame_fade(size_px: int) -> Floats:
    """(size_px,size_px) 1 inside, 0 at the edges of a picture: nothing is cut off there."""
    places = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px
    share = np.clip(np.minimum(places, 1 - places) / FRAME, 0, 1)
    share = share * share * (3 - 2 * share)
    return np.asarray(share[:, None] * share[None, :], np.float32)


def fade(darkness: Floats) -> Floats:
    """Nothing far from the model."""
    steps = ((np.arange(CELLS) + 0.5) / CELLS * 2 - 1) * REACH
    distance = np.hypot(steps[:, None], steps[None, :])
    share = np.clip((FADES[1] - distance) / (FADES[1] - FADES[0]), 0, 1)
    return np.asarray(darkness * share * share * (3 - 2 * share), np.float32)
