"""Fine relief on the front of an inflated body, read from the photo's shading."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline3d.generation.inflation.body import Body

RELIEF_SHARE = 0.0042
"""Highest relief as a share of the grid's side: shading is no depth, so it may only hint."""
FINE_CELLS, COARSE_CELLS = 0.7, 7.0
"""Blur of the two pictures whose difference is the detail."""
CONTRAST = 60.0
"""Grey levels of detail that give the highest relief."""
RIM_CELLS = 6.0
"""Distance from the rim at which the relief is whole."""
FADE_IN = 0.25
"""Height, as a share of the body's half depth, at which the relief is whole."""


def add_relief(body: Body, luminance: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The body's vertices with the front moved along z; luminance (cells, cells), 0 to 255.

    High-passed inside the silhouette; fades to nothing at the rim and on the back.
    """
    from scipy import ndimage

    inside = np.clip((body.alpha - 0.25) * 2, 0, 1)

    def smooth(sigma: float) -> npt.NDArray[np.float64]:
        weight = ndimage.gaussian_filter(inside, sigma) + 1e-3
        blurred: npt.NDArray[np.float64] = ndimage.gaussian_filter(luminance * inside, sigma) / weight
        return blurred

    detail = np.clip((smooth(FINE_CELLS) - smooth(COARSE_CELLS)) / CONTRAST, -1, 1)
    fade = np.clip(ndimage.distance_transform_edt(body.alpha > 0.5) / RIM_CELLS - 0.3, 0, 1)
    x, y, z = body.vertices.T.astype(np.float64)
    lift = ndimage.map_coordinates(detail * fade, [body.cells - 1 - y, x], order=1)
    # Lifted less than the height over which the lift fades in, points above each other keep their order.
    fade_in = FADE_IN * body.depth
    facing = np.clip(z / fade_in, 0, 1)
    moved = body.vertices.copy()
    moved[:, 2] += (lift * facing * min(RELIEF_SHARE * body.cells, 0.5 * fade_in)).astype(np.float32)
    return moved
