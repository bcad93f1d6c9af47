"""Which pixels are the object: a picture's own alpha, or a cut-out by classical means.

Two hypotheses are cut out by GrabCut (Rother, Kolmogorov, Blake 2004): what stands before a plain
backdrop, and what is salient in a scene. The one that can be trusted more is taken; when neither can,
the picture is refused. A wrong cut-out makes a wrong model, so refusing is the better result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import UnusableInput
from pipeline3d.imaging.backdrop import Backdrop, model_backdrop
from pipeline3d.imaging.colour import to_lab
from pipeline3d.imaging.confidence import Assessment, assess
from pipeline3d.imaging.picture import Picture
from pipeline3d.imaging.saliency import find_salient

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

WORKING_SIDE = 352
"""Longer side at which the object is found; its edge is refined at the full size afterwards."""
REFINING_SIDE = 1024
"""Longer side at which its edge is refined: the frame that the cut-out ends in has no more pixels."""
SOLID_ALPHA = 128
LEAST_TRANSPARENT = 0.005
"""Share of see-through pixels from which on an alpha channel is a cut-out and not an accident."""
LEAST_CONFIDENCE = 0.65
"""Measured on drawn pictures and on the photographs that come with scikit-image and scikit-learn: whole
objects reach 0.88 and more, cut-outs that miss a part of their object 0.61 at most."""
CONVINCING = 0.8
"""From this confidence on of the first hypothesis the second is not tried: it costs as much time again."""
LEAST_COVERAGE, MOST_COVERAGE = 0.01, 0.9
"""Shares of the picture: less has too few pixels for a texture, more has no background left to tell apart."""
SMALL_PART = 0.04
"""Parts smaller than this share of the largest are specks."""
PINHOLE = 0.0015
"""Holes smaller than this share of the picture are noise, and would be tunnels through the model."""
LEAST_HOLE = 0.002
"""Share of the picture from which on backdrop inside the object is a hole, such as in a mug's handle."""
SHADOWED_HOLE_SHARE, SHADOWED_HOLE_DISTANCE = 0.9, 7.0
"""A hole may lie in the object's own shadow: darker all over than the backdrop, by a little."""
EDGE_BAND = 0.46
"""How far from 0 and 1 the blurred mask must be for a pixel to count as edge."""
GUIDE_NOISE = 1e-3
"""Variance of the picture (0 to 1, squared) below which the guided filter sees noise and not an edge."""
GRAB_CUT_ROUNDS = 2
"""Measured on the drawn pictures: a third round gains 0.001 of overlap with the true outline."""
SURROUNDINGS_REACHES = 12
"""Width of the backdrop that GrabCut sees around the first guess, in units of its uncertain edge."""
BACKDROP_EXPLAINED = 0.5
"""Below this share of the border there is no plain backdrop to stand before."""
LEAST_SHARE = {"backdrop": 0.01, "saliency": 0.06}
"""Share of the picture from which on an object is surely meant. Before a plain backdrop a small one is
clear too; in a scene a small thing is as likely to be one of many."""
HINT = (
    "Photograph the object alone before a plain background, send a picture with transparency (PNG, WebP), "
    "or use a background-removal model first."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matte:
    """alpha (h,w) uint8 at the picture's size; `coverage` and `confidence` from 0 to 1.

    `method` is how it was found: "alpha", "backdrop", "saliency", or "rembg:" and the name of a model.
    """

    alpha: Pixels
    method: str
    coverage: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    mask: Mask
    method: str
    assessment: Assessment


def cut_out(picture: Picture, *, seed: int = 0) -> Matte:
    """The object of a picture, with alpha (h,w) at the picture's size.

    A picture with transparency of its own is taken at its word. `seed` starts GrabCut's colour clusters:
    equal pictures and seeds give equal mattes. Raises `UnusableInput` (`no_clear_object`) where there is no
    object or its cut-out cannot be trusted; `details` holds the `confidence`, what was `needed` and why.
    """
    own = take_own_alpha(picture)
    if own is not None:
        return own
    small = shrink(picture.rgb)
    lab = denoise(to_lab(small))
    candidates = _find_candidates(small, lab, seed)
    if not candidates:
        raise _refusal(0.0, "nothing stands out from its surroundings")
    best = max(candidates, key=lambda candidate: candidate.assessment.confidence)
    if best.assessment.confidence < LEAST_CONFIDENCE:
        raise _refusal(best.assessment.confidence, best.assessment.weakest)
    return Matte(
        alpha=_refine_edge(best.mask, picture.rgb),
        method=best.method,
        coverage=round(float(best.mask.mean()), 4),
        confidence=round(best.assessment.confidence, 3),
    )


def take_own_alpha(picture: Picture) -> Matte | None:
    """The picture's own cut-out, or None where it has none: an alpha channel may hide nothing.

    Raises `UnusableInput` (`no_clear_object`) for a picture that is transparent all over.
    """
    alpha = picture.alpha
    if alpha is None or float((alpha < SOLID_ALPHA).mean()) < LEAST_TRANSPARENT:
        return None
    coverage = float((alpha >= SOLID_ALPHA).mean())
    if coverage < LEAST_COVERAGE / 10:
        raise _refusal(0.0, "the picture is transparent all over")
    return Matte(alpha=alpha, method="alpha", coverage=round(coverage, 4), confidence=1.0)


def _refusal(confidence: float, reason: str) -> UnusableInput:
    return UnusableInput(
        f"No clear object was found: {reason} (confidence {confidence:.2f}, needed {LEAST_CONFIDENCE:.2f}).",
        code="no_clear_object",
        hint=HINT,
        details={"confidence": round(confidence, 3), "needed": LEAST_CONFIDENCE, "reason": reason},
    )


def shrink(rgb: Pixels) -> Pixels:
    """The picture at the size at which objects are found."""
    import cv2

    scale = WORKING_SIDE / max(rgb.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(rgb)
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def denoise(lab: Floats) -> Floats:
    """Colours (h,w,3) without the grain of single pixels."""
    import cv2

    return np.asarray(cv2.GaussianBlur(lab, (0, 0), 0.7), np.float32)


def _find_candidates(small: Pixels, lab: Floats, seed: int) -> list[_Candidate]:
    """Both hypotheses, as far as they give a mask; the second only where the first is not convincing."""
    found = []
    backdrop = model_backdrop(lab)
    if backdrop.explained >= BACKDROP_EXPLAINED:
        first = stands_before(backdrop, lab)
        certain = backdrop.distance > 1.8 * _threshold(backdrop)
        found += _cut(small, lab, first, certain, "backdrop", seed)
        if found and found[0].assessment.confidence >= CONVINCING:
            return found
    salient = find_salient(lab)
    threshold = max(_otsu(salient), 0.25)
    found += _cut(small, lab, salient > threshold, salient > (1 + threshold) / 2, "saliency", seed)
    return found


def stands_before(backdrop: Backdrop, lab: Floats) -> Mask:
    """Everything that cannot be reached from the border through backdrop and soft shadow."""
    from scipy import ndimage

    threshold = _threshold(backdrop)
    strict = max(4.5, 3.2 * backdrop.spread)
    squares = [ndimage.gaussian_gradient_magnitude(lab[..., i], 1.0) ** 2 for i in range(3)]
    is_smooth = np.sqrt(np.sum(squares, axis=0)) < 2.2
    soft_shadow = backdrop.may_be_shadow & (backdrop.distance < threshold) & is_smooth
    free = ~((backdrop.distance > strict) & ~soft_shadow)
    labels, count = ndimage.label(free)
    reachable = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    background = np.isin(labels, reachable[reachable > 0])
    numbers = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(np.ones(labels.shape), labels, numbers)
    means = ndimage.mean(backdrop.distance, labels, numbers)
    shadowed = ndimage.mean(backdrop.may_be_shadow, labels, numbers)
    is_backdrop = (means < max(3.0, 1.6 * backdrop.spread)) | (
        (shadowed > SHADOWED_HOLE_SHARE) & (means < SHADOWED_HOLE_DISTANCE)
    )
    through = numbers[(sizes > LEAST_HOLE * labels.size) & is_backdrop]
    return np.asarray(~(background | np.isin(labels, through)), bool)


def _threshold(backdrop: Backdrop) -> float:
    return float(np.clip(_otsu(np.clip(backdrop.distance, 0, 40)), max(5.0, 3.2 * backdrop.spread), 16))


def _otsu(values: Floats) -> float:
    """The value that parts the histogram best into two classes (Otsu 1979); infinity where all are equal."""
    from skimage import filters

    find_threshold: Any = filters.threshold_otsu  # scikit-image has no types here
    return float(find_threshold(values)) if float(np.ptp(values)) > 0 else float("inf")


def _cut(small: Pixels, lab: Floats, first: Mask, certain: Mask, method: str, seed: int) -> list[_Candidate]:
    """Refine a first guess by GrabCut and judge it; nothing where no object remains."""
    if not LEAST_COVERAGE / 2 < first.mean() < 0.97:
        return []
    mask = tidy(_grab_cut(small, first, certain, seed))
    if not LEAST_COVERAGE < mask.mean() < MOST_COVERAGE:
        return []
    return [
        _Candidate(
            mask=mask, method=method, assessment=assess(lab, mask, first, least_share=LEAST_SHARE[method])
        )
    ]


def _grab_cut(small: Pixels, first: Mask, certain: Mask, seed: int) -> Mask:
    import cv2
    from scipy import ndimage

    reach = max(2, round(0.012 * max(first.shape)))
    labels = np.where(first, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[ndimage.binary_erosion(first, iterations=reach) & certain] = cv2.GC_FGD
    labels[_distance_to(first) > 2.5 * reach] = cv2.GC_BGD
    if not ((labels == cv2.GC_FGD).any() and (labels == cv2.GC_BGD).any()):
        return first
    window = _surroundings(first, SURROUNDINGS_REACHES * reach)
    inner = np.ascontiguousarray(labels[window])
    cv2.setRNGSeed(seed & 0x7FFFFFFF)  # GrabCut starts its colour clusters by chance
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(small[window][..., ::-1])
    whole = (0, 0, bgr.shape[1], bgr.shape[0])  # not looked at: the labels say what is known
    cv2.grabCut(bgr, inner, whole, *models, GRAB_CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    labels[window] = inner
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), bool)


def _surroundings(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The window that holds the mask and a margin: what lies further away only costs time."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )


def _distance_to(mask: Mask) -> Floats:
    """Pixels from each place to the mask, 0 on it."""
    import cv2

    outside = (~mask).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)


def tidy(mask: Mask) -> Mask:
    """Without specks, hairs of one pixel, pinholes, and neighbours that the picture's border cuts off.

    The main part is the largest where parts near the middle count for more; others stay if they are
    not much smaller, and lie wholly inside the picture as long as the main part does.
    """
    from scipy import ndimage

    opened = ndimage.binary_opening(mask)
    labels, count = ndimage.label(opened)
    if count == 0:
        return np.zeros_like(mask)
    numbers = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(opened, labels, numbers)
    weighted = sizes * (0.3 + 0.7 * ndimage.mean(_centre_prior(mask.shape), labels, numbers))
    main = int(np.argmax(weighted))
    is_cut_off = np.isin(numbers, np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    stays = (sizes > SMALL_PART * sizes[main]) & (~is_cut_off | is_cut_off[main])
    kept = np.isin(labels, numbers[stays])
    holes, count = ndimage.label(~kept)
    sizes = ndimage.sum_labels(~kept, holes, np.arange(1, count + 1))
    pinholes = 1 + np.nonzero(sizes < PINHOLE * mask.size)[0]
    return np.asarray(kept | np.isin(holes, pinholes), bool)


def _centre_prior(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """1 in the middle of the picture, about 0.1 in its corners."""
    rows, columns = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(np.exp(-1.15 * (rows**2 + columns**2)), np.float64)


def _refine_edge(mask: Mask, rgb: Pixels) -> Pixels:
    """Alpha at the full size: a guided filter (He, Sun, Tang 2010) follows the picture along the edge."""
    import cv2

    full = rgb.shape[1::-1]
    scale = min(1.0, REFINING_SIDE / max(full))
    size = (max(1, round(full[0] * scale)), max(1, round(full[1] * scale)))
    grown = max(1.0, max(size) / max(mask.shape))
    coarse = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    solid = (cv2.GaussianBlur(coarse, (0, 0), 0.6 * grown) > 0.5).astype(np.float32)
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    guide = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    guided = guided_filter(guide, solid, radius=max(2, round(2.5 * grown)))
    near = cv2.GaussianBlur(solid, (0, 0), 0.5 * grown + 0.5)
    alpha = np.where(np.abs(near - 0.5) < EDGE_BAND, 0.5 * guided + 0.5 * near, solid)
    enlarged = cv2.resize(alpha.astype(np.float32), full, interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.round(np.clip(enlarged, 0, 1) * 255), np.uint8)


def guided_filter(guide: Floats, values: Floats, *, radius: int) -> Floats:
    """`values` (h,w) smoothed over `radius` pixels, with edges where `guide` (h,w, 0 to 1) has edges."""
    import cv2

    window = (2 * radius + 1, 2 * radius + 1)

    def mean(array: npt.NDArray[Any]) -> Floats:
        return np.asarray(cv2.blur(array, window), np.float32)

    guide_mean, values_mean = mean(guide), mean(values)
    variance = mean(guide * guide) - guide_mean**2
    slope = (mean(guide * values) - guide_mean * values_mean) / (variance + GUIDE_NOISE)
    filtered = mean(slope) * guide + mean(values_mean - slope * guide_mean)
    return np.asarray(np.clip(filtered, 0, 1), np.float32)
