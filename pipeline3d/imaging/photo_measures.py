"""What can be measured of a photo and the object in it: size, sharpness, light, background, completeness.

Invariant: lengths that depend on how large the photo is are measured at a fixed size of the object, so that
a photo and a smaller copy of it measure alike. Nothing here says what is good enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.imaging.colour import to_lab
from pipeline3d.imaging.confidence import outline_of
from pipeline3d.imaging.framing import VISIBLE_ALPHA, find_bounds
from pipeline3d.imaging.matting import Matte, shrink
from pipeline3d.imaging.picture import Picture

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

SHARPNESS_SIDE = 512
"""Longer side of the object at which its blur is measured. A smaller object is measured as it is, or it would
be called blurred for having few pixels; so its blur is judged more mildly, by its own pixels."""

SMOOTHING_PX = 1.0
"""Blur that is added before slopes are taken, so that noise is none, and taken off the result again."""

STEEPEST_SHARE = 95.0
"""Percentile of the slopes from which on a pixel belongs to an edge."""

LEAST_SLOPE = 2.0
"""Grey levels a pixel; what is flatter is shading or noise and says nothing about focus."""

EDGE_REACH_PX = 3
"""How far to both sides of its steepest place an edge is looked at."""

DIRECTIONS = 4
"""Blur is measured across so many directions of edges: a moving camera blurs only some of them."""

LEAST_EDGE_PIXELS = 40
"""Fewer in one direction are no evidence."""

BACKGROUND_MARGIN = 0.04
"""Share of the longer side around the object that is left out: its own edge and its shadow's."""

VISIBLE_GRADIENT = 2.5
"""L*a*b* units a pixel at the working size of matting that make an edge of the background."""

BURNT_OUT_LEVEL = 252
"""All three channels at or above this: no colour is left."""

BRIGHT_PERCENTILE = 95.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoMeasures:
    """The numbers of one photo. None where there is no matte to measure by, or nothing to measure at.

    `shorter_side_px` and `object_px` (the longer side of the object) count the pixels of the file,
    `object_share` is the object's larger share of the photo's width or height. `blur_px` is the standard
    deviation of the blur across edges, with a larger object shrunk to 512 pixels. `brightest` is L* from
    0 to 100, and None for a cut-out: nobody sees whether the product or the photo is dark. `burnt_out`
    is a share of the object, `background_edges` of the background, `cut_off` of the object's outline, and
    `second_object` the area of the second largest part over that of the largest.
    """

    shorter_side_px: float
    object_px: float | None
    object_share: float | None
    blur_px: float | None
    brightest: float | None
    burnt_out: float | None
    background_edges: float | None
    cut_off: float | None
    second_object: float | None


def measure_photo(picture: Picture, matte: Matte | None) -> PhotoMeasures:
    """Measure a photo and, where there is a matte with something visible, the object in it."""
    small = shrink(picture.rgb)
    lab = to_lab(small)
    shorter = float(min(picture.source_width, picture.source_height))
    if matte is None or not (matte.alpha >= VISIBLE_ALPHA).any():
        whole = np.ones(picture.rgb.shape[:2], bool)
        return PhotoMeasures(
            shorter_side_px=shorter,
            object_px=None,
            object_share=None,
            blur_px=measure_blur(picture.rgb, whole),
            brightest=float(np.percentile(lab[..., 0], BRIGHT_PERCENTILE)),
            burnt_out=None,
            background_edges=None,
            cut_off=None,
            second_object=None,
        )
    mask = matte.alpha >= VISIBLE_ALPHA
    small_mask = _shrink_mask(mask, small.shape[:2])
    top, bottom, left, right = find_bounds(matte.alpha)
    file_scale = max(picture.source_width, picture.source_height) / max(mask.shape)
    has_background = matte.method != "alpha"  # under a picture's own alpha anything may lie
    return PhotoMeasures(
        shorter_side_px=shorter,
        object_px=max(bottom - top, right - left) * file_scale,
        object_share=max((bottom - top) / mask.shape[0], (right - left) / mask.shape[1]),
        blur_px=measure_blur(picture.rgb, mask),
        brightest=_find_brightest(lab, small_mask) if has_background else None,
        burnt_out=float((picture.rgb[mask] >= BURNT_OUT_LEVEL).all(axis=1).mean()),
        background_edges=measure_background(lab, small_mask) if has_background else None,
        cut_off=measure_cut_off(mask),
        second_object=compare_parts(small_mask),
    )


def measure_blur(rgb: Pixels, mask: Mask) -> float | None:
    """Standard deviation, in pixels, of the blur at the steepest edges in and around a mask (h,w).

    Across a step that is blurred by a Gaussian of deviation s, the energy of the slope is 2 s^2 times
    the energy of its derivative, whatever the contrast. So this is the variance of the Laplacian (taken
    across the edge), divided by what makes that depend on content and exposure. The largest of
    `DIRECTIONS` counts. None where nothing in the mask has an edge.
    """
    import cv2

    grey, near = _scale_for_sharpness(rgb, mask)
    smooth = np.asarray(cv2.GaussianBlur(grey, (0, 0), SMOOTHING_PX), np.float32)
    right, down = _slope(smooth, 1, 0), _slope(smooth, 0, 1)
    energy = right * right + down * down
    bend = right * right * _slope(right, 1, 0) + down * down * _slope(down, 0, 1)
    bend = (bend + 2 * right * down * _slope(right, 0, 1)) / np.maximum(energy, 1e-6)
    slope = np.sqrt(energy)
    direction = np.floor(np.arctan2(down, right) % np.pi / np.pi * DIRECTIONS + 0.5) % DIRECTIONS
    blurs = []
    for number in range(DIRECTIONS):
        candidates = near & (direction == number)
        if candidates.sum() < LEAST_EDGE_PIXELS:
            continue
        steep = candidates & (slope >= max(LEAST_SLOPE, np.percentile(slope[candidates], STEEPEST_SHARE)))
        if steep.sum() < LEAST_EDGE_PIXELS:
            continue
        reach = np.ones((2 * EDGE_REACH_PX + 1, 2 * EDGE_REACH_PX + 1), np.uint8)
        edge = (cv2.dilate(steep.astype(np.uint8), reach) > 0) & (direction == number)
        variance = energy[edge].sum() / max(2 * float((bend[edge] ** 2).sum()), 1e-9)
        blurs.append(float(np.sqrt(max(variance - SMOOTHING_PX**2, 0.0))))
    return max(blurs) if blurs else None


def _scale_for_sharpness(rgb: Pixels, mask: Mask) -> tuple[Floats, Mask]:
    """Grey levels (h,w) around the mask at `SHARPNESS_SIDE`, and where its pixels and its outline lie."""
    import cv2

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    side = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1
    margin = round(BACKGROUND_MARGIN * side) + 2
    window = (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb[window]), cv2.COLOR_RGB2GRAY), np.float32)
    inside = mask[window].astype(np.float32)
    scale = SHARPNESS_SIDE / side
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)
        inside = np.asarray(cv2.resize(inside, size, interpolation=cv2.INTER_AREA), np.float32)
    near = cv2.dilate((inside > 0.5).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return grey, np.asarray(near, bool)


def _slope(values: Floats, across: int, down: int) -> Floats:
    """The derivative of an array (h,w) per pixel."""
    import cv2

    return np.asarray(cv2.Sobel(values, cv2.CV_32F, across, down, scale=0.125), np.float32)


def _shrink_mask(mask: Mask, shape: tuple[int, ...]) -> Mask:
    import cv2

    coverage = cv2.resize(mask.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(coverage > 0.5, bool)


def _find_brightest(lab: Floats, mask: Mask) -> float:
    """L* of the brightest parts of the object, or of the whole picture where those are brighter.

    A dark product is not a dark photo: before a light backdrop something in the photo is bright.
    """
    whole = float(np.percentile(lab[..., 0], BRIGHT_PERCENTILE))
    return max(whole, float(np.percentile(lab[..., 0][mask], BRIGHT_PERCENTILE))) if mask.any() else whole


def measure_background(lab: Floats, mask: Mask) -> float | None:
    """Share of the background (h,w) that is edges; None where the object leaves next to none."""
    import cv2

    margin = max(2, round(BACKGROUND_MARGIN * max(mask.shape)))
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0
    background = ~np.asarray(grown, bool)
    if background.mean() < 0.02:
        return None
    smooth = np.asarray(cv2.GaussianBlur(lab, (0, 0), 1.5), np.float32)
    gradient = np.sqrt((_slope(smooth, 1, 0) ** 2 + _slope(smooth, 0, 1) ** 2).sum(axis=2))
    return float((gradient[background] > VISIBLE_GRADIENT).mean())


def measure_cut_off(mask: Mask) -> float:
    """Share of the object's outline that is the border of the photo."""
    touching = sum(int(rim.sum()) for rim in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    free = int((outline_of(mask) & mask).sum())
    return touching / max(touching + free, 1)


def compare_parts(mask: Mask) -> float:
    """Area of the second largest part over that of the largest; objects that touch are one part."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if count < 2:
        return 0.0
    sizes = np.sort(np.bincount(labels.ravel())[1:])
    return float(sizes[-2] / sizes[-1])
