"""From where a model is looked at: a camera as people ask for it, and what it does to points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters

Floats = npt.NDArray[np.float32]

NEAREST = 1.05
"""Distance in radii of the bounding sphere: nothing is cut off at the camera, so it stays outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera that looks at the middle of the model.

    Azimuth 0 looks at the front (+Z), 90 at the right side (+X); elevation 90 looks straight down.
    `distance` is a multiple of what just shows the bounding sphere.
    """

    azimuth_deg: float = 28.0
    elevation_deg: float = 14.0
    distance: float = 1.06
    field_of_view_deg: float = 28.0

    def __post_init__(self) -> None:
        """Refuse what cannot be looked from."""
        require_number("azimuth_deg", self.azimuth_deg, -36000, 36000)
        require_number("elevation_deg", self.elevation_deg, -90, 90)
        require_number("distance", self.distance, 0.3, 20)
        require_number("field_of_view_deg", self.field_of_view_deg, 2, 100)
        if self.distance < NEAREST * math.sin(math.radians(self.field_of_view_deg / 2)):
            raise InvalidParameters(
                f"A camera at distance {self.distance} with a field of view of "
                f"{self.field_of_view_deg} degrees stands inside the model.",
                hint="Choose a larger distance or a smaller field of view.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Viewpoint:
    """Where a camera is, its right, up and forward axes as rows, and its focal length in samples."""

    eye: Floats
    axes: Floats
    focal_px: float
    side: int

    def project(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Points (n,3) → x, y in samples (y down) and depth, each (n,)."""
        seen = (points - self.eye) @ self.axes.T
        depth = np.maximum(seen[:, 2], 1e-6)
        x = self.side / 2 + seen[:, 0] / depth * self.focal_px
        y = self.side / 2 - seen[:, 1] / depth * self.focal_px
        return x.astype(np.float32), y.astype(np.float32), depth.astype(np.float32)

    def rays(self, x: Floats, y: Floats) -> Floats:
        """Directions (k,3) from the camera through places on the picture, in its own axes, not unit."""
        across, down = x - np.float32(self.side / 2), y - np.float32(self.side / 2)
        rays = np.stack([across, -down, np.full_like(across, self.focal_px)], axis=-1)
        return np.asarray(rays / np.float32(self.focal_px), np.float32)


def place_camera(camera: Camera, side: int) -> Viewpoint:
    """The viewpoint onto a model whose bounding sphere is the unit sphere."""
    azimuth, elevation = math.radians(camera.azimuth_deg), math.radians(camera.elevation_deg)
    half = math.radians(camera.field_of_view_deg / 2)
    away = np.array(
        [
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
            math.cos(azimuth) * math.cos(elevation),
        ]
    )
    right = np.array([math.cos(azimuth), 0.0, -math.sin(azimuth)])  # level also when looking straight down
    axes = np.stack([right, np.cross(right, -away), -away])
    return Viewpoint(
        (away * (camera.distance / math.sin(half))).astype(np.float32),
        axes.astype(np.float32),
        side / 2 / math.tan(half),
        side,
    )


def require_number(name: str, value: object, least: float, most: float) -> None:
    """Raise `InvalidParameters` unless `value` is a finite number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidParameters(
            f"{name} is {value!r}; a number from {least:g} to {most:g} is wanted.",
            hint=f"Choose {name} within these bounds.",
        )
