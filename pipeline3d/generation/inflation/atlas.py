"""The texture of an inflated body: the photo on the front half, its softened mirror on the back half.

Colours are pushed outwards beyond the silhouette (pull-push, Gortler et al. 1996), so that no
background bleeds into the rim, and the rim itself is low-passed: the sides see the photo at a grazing
angle and would show streaks.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

SOLID_ALPHA = 200
RIM_WIDTH = 0.022
"""Width of the low-passed rim, as a share of the side."""
BACK_RIM_WIDTH = 0.06
RIM_BLUR, BACK_BLUR = 0.012, 0.03
BLUR_DOWNSCALE = 4
JPEG_QUALITY = 90


def paint_atlas(rgba: Pixels, side: int) -> Pixels:
    """(side, 2 side, 3) uint8: front on the left, back on the right, both seen from the front."""
    from PIL import Image
    from scipy import ndimage

    resized = Image.fromarray(rgba).resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(resized)
    colour, alpha = pixels[..., :3].astype(np.float32), pixels[..., 3]
    core = ndimage.binary_erosion(alpha > SOLID_ALPHA, iterations=max(1, side // 256))
    if not core.any():
        core = alpha > 128
    front = push_colours_outwards(colour, core.astype(np.float32))
    small_core, small_front = _shrink(core.astype(np.float32)), _shrink(front)
    distance = ndimage.distance_transform_edt(small_core > 0.5) / (side / BLUR_DOWNSCALE)
    front_weight = _enlarge(np.clip(distance / RIM_WIDTH, 0, 1).astype(np.float32), side)[..., None]
    back_weight = _enlarge(np.clip(distance / BACK_RIM_WIDTH, 0, 1).astype(np.float32), side)[..., None]
    rim = _enlarge(_blur_inside(small_front, small_core, RIM_BLUR), side)
    deep = _enlarge(_blur_inside(small_front, small_core, BACK_BLUR), side)
    front = front * front_weight + rim * (1 - front_weight)
    back = front * (1 - back_weight) + deep * back_weight
    return np.clip(np.concatenate([front, back], axis=1), 0, 255).astype(np.uint8)


def encode_jpeg(pixels: Pixels) -> bytes:
    """The atlas as JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


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
    odd = weight.shape[0] % 2
    colour = np.pad(colour, ((0, odd), (0, odd), (0, 0)))
    weight = np.pad(weight, ((0, odd), (0, odd)))
    colour = colour[::2, ::2] + colour[1::2, ::2] + colour[::2, 1::2] + colour[1::2, 1::2]
    weight = weight[::2, ::2] + weight[1::2, ::2] + weight[::2, 1::2] + weight[1::2, 1::2]
    scale = 1 / np.maximum(weight, 1)
    return colour * scale[..., None], np.minimum(weight, 1)


def _blur_inside(colour: Floats, mask: Floats, share: float) -> Floats:
    from scipy import ndimage

    sigma = share * mask.shape[0]
    total = ndimage.gaussian_filter(mask, sigma)[..., None] + 1e-3
    blurred: Floats = ndimage.gaussian_filter(colour * mask[..., None], (sigma, sigma, 0)) / total
    return blurred


def _shrink(values: Floats) -> Floats:
    import cv2

    side = max(1, values.shape[0] // BLUR_DOWNSCALE)
    return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _enlarge(values: Floats, side: int) -> Floats:
    import cv2

    return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
