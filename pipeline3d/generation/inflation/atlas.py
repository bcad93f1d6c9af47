"""The texture of an inflated body: the photo on the front half, its softened mirror on the back half.

Colours are pushed outwards beyond the silhouette (pull-push, Gortler et al. 1996), so that no
background bleeds into the rim, and the rim itself is low-passed: the sides see the photo at a grazing
angle and would show streaks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

SOLID_ALPHA = 200
"""From here on, of 255, a pixel shows the object's own colour; below, the backdrop shines through."""
RIM_WIDTH = 0.022
"""Width of the low-passed rim, as a share of the side."""
BACK_RIM_WIDTH = 0.06
"""Distance from the rim over which the back turns from the photo to its blur."""
RIM_BLUR, BACK_BLUR = 0.012, 0.03
"""Blur of the rim and of the back, as shares of the side."""
FAR_WEIGHT = 1e-3
"""How much colours beyond the silhouette count: only where there are no others."""
BLUR_DOWNSCALE = 4
"""Blurs are made at a quarter of the side: they have no finer detail, and it is 16 times less work."""
JPEG_QUALITY = 90
"""Of 100; below it, blocks show on smooth surfaces."""


def paint_atlas(rgba: Pixels, side: int) -> Pixels:
    """(side, 2 side, 3) uint8: front on the left, back on the right, both seen from the front."""
    import cv2

    method = cv2.INTER_AREA if rgba.shape[0] > side else cv2.INTER_CUBIC
    pixels = cv2.resize(rgba, (side, side), interpolation=method)
    colour, alpha = pixels[..., :3].astype(np.float32), pixels[..., 3]
    core = _erode(alpha > SOLID_ALPHA, max(1, side // 256))
    if not core.any():
        core = alpha >= alpha.max()
    front = push_colours_outwards(colour, core.astype(np.float32))
    small_core, small_front = _shrink(core.astype(np.float32)), _shrink(front)
    inside = (small_core > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / (side / BLUR_DOWNSCALE)
    front_weight = _enlarge(np.clip(distance / RIM_WIDTH, 0, 1).astype(np.float32), side)[..., None]
    back_weight = _enlarge(np.clip(distance / BACK_RIM_WIDTH, 0, 1).astype(np.float32), side)[..., None]
    rim = _enlarge(_blur_inside(small_front, small_core, RIM_BLUR), side)
    deep = _enlarge(_blur_inside(small_front, small_core, BACK_BLUR), side)
    front = rim + (front - rim) * front_weight
    back = front + (deep - front) * back_weight
    return np.asarray(cv2.convertScaleAbs(cv2.hconcat([front, back])), np.uint8)  # rounds, and clips


def encode_jpeg(pixels: Pixels) -> bytes:
    """The atlas as JPEG."""
    import cv2

    done, content = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise ValueError(f"an array of shape {pixels.shape} cannot be written as JPEG")
    return bytes(content)


def push_colours_outwards(colour: Floats, weight: Floats) -> Floats:
    """Fill (s,s,3) where `weight` (s,s) is 0 with the nearest colours, ever smoother with distance."""
    levels = [(colour * weight[..., None], weight)]
    while levels[-1][1].shape[0] > 1:
        levels.append(_pull(*levels[-1]))
    filled = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for premultiplied, mask in reversed(levels[:-1]):
        coarse = _enlarge(filled.astype(np.float32), 2 * filled.shape[0])[: mask.shape[0], : mask.shape[1]]
        filled = premultiplied + coarse * (1 - mask)[..., None]
    return filled.astype(np.float32)


def _pull(colour: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """The next coarser level: weighted means of four, with a weight of at most 1."""
    import cv2

    odd = weight.shape[0] % 2
    half = (weight.shape[1] + odd) // 2

    def sum_of_four(values: Floats) -> Floats:
        if odd:
            values = np.asarray(cv2.copyMakeBorder(values, 0, 1, 0, 1, cv2.BORDER_CONSTANT), np.float32)
        quarter = cv2.resize(values, (half, half), interpolation=cv2.INTER_AREA)
        return np.asarray(quarter, np.float32) * np.float32(4)

    total = sum_of_four(weight)
    mean = sum_of_four(colour) / np.maximum(total, 1)[..., None]
    return mean.astype(np.float32), np.minimum(total, 1).astype(np.float32)


def _erode(mask: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    import cv2

    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    solid = cv2.erode(mask.astype(np.uint8), cross, iterations=pixels, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(solid, bool)


def _blur_inside(colour: Floats, mask: Floats, share: float) -> Floats:
    """Colours (s,s,3) blurred by a share of the side, from what lies inside the mask (s,s).

    Far outside they stay as they are: black there would come into sight where a viewer minifies.
    """
    import cv2

    sigma = share * mask.shape[0]
    total = cv2.GaussianBlur(mask, (0, 0), sigma)[..., None] + FAR_WEIGHT
    blurred = cv2.GaussianBlur(colour * mask[..., None], (0, 0), sigma) + FAR_WEIGHT * colour
    return np.asarray(blurred / total, np.float32)


def _shrink(values: Floats) -> Floats:
    import cv2

    side = max(1, values.shape[0] // BLUR_DOWNSCALE)
    return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _enlarge(values: Floats, side: int) -> Floats:
    import cv2

    return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
