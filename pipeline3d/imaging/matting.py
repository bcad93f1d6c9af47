"""Which pixels are the object: a picture's own alpha, or a cut-out by classical means.

Two hypotheses are cut out by GrabCut (Rother, Kolmogorov, Blake 2004): what stands before a plain
backdrop, and what is salient in a scene. The one that can be trusted more is taken; when neither can,
the picture is refused. A wrong cut-out makes a wrong model, so refusing is the better result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import UnusableInput
from pipeline3d.imaging.backdrop import Backdrop, model_backdrop
from pipeline3d.imaging.colour import to_lab
from pipeline3d.imaging.confidence import Assessment, assess
from pipeline3d.imaging.decoding import Picture
from pipeline3d.imaging.saliency import find_salient

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

WORKING_SIDE = 352
"""Longer side at which the object is found; its edge is refined at the full size afterwards."""
REAL_ALPHA = 250
SOLID_ALPHA = 128
LEAST_CONFIDENCE = 0.5
LEAST_COVERAGE, MOST_COVERAGE = 0.01, 0.9
SMALL_PART = 0.04
"""Parts smaller than this share of the largest are specks."""
PINHOLE = 0.0015
BACKDROP_EXPLAINED = 0.75
"""Below this share of the border there is no plain backdrop to stand before."""
HINT = (
    "Photograph the object alone before a plain background, send a picture with transparency (PNG, WebP), "
    "or use a background-removal model first."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matte:
    """alpha (h,w) uint8 at the picture's size; `coverage` and `confidence` from 0 to 1.

    `method` is how it was found: "alpha", "backdrop" or "saliency".
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
    """The object of a picture. Raises UnusableInput `no_clear_object` with the confidence in its details."""
    if picture.alpha is not None and int(picture.alpha.min()) < REAL_ALPHA:
        return _take_alpha(picture.alpha)
    small = _shrink(picture.rgb)
    lab = _denoise(to_lab(small))
    candidates = _find_candidates(small, lab, seed)
    if not candidates:
        raise _refusal(0.0, "nothing stands out from its surroundings")
    best = max(candidates, key=lambda candidate: candidate.assessment.confidence)
    if best.assessment.confidence < LEAST_CONFIDENCE:
        raise _refusal(best.assessment.confidence, best.assessment.weakest)
    return Matte(
        alpha=_refine_edge(best.mask, small, picture.rgb),
        method=best.method,
        coverage=round(float(best.mask.mean()), 4),
        confidence=round(best.assessment.confidence, 3),
    )


def _take_alpha(alpha: Pixels) -> Matte:
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


def _shrink(rgb: Pixels) -> Pixels:
    import cv2

    scale = WORKING_SIDE / max(rgb.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(rgb)
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _denoise(lab: Floats) -> Floats:
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
        if found and found[0].assessment.confidence >= 0.75:
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
    through = numbers[(sizes > 0.002 * labels.size) & (means < max(3.0, 1.6 * backdrop.spread))]
    return np.asarray(~(background | np.isin(labels, through)), bool)


def _threshold(backdrop: Backdrop) -> float:
    return float(np.clip(_otsu(np.clip(backdrop.distance, 0, 40)), max(5.0, 3.2 * backdrop.spread), 16))


def _otsu(values: Floats) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values)) if float(np.ptp(values)) > 0 else float("inf")


def _cut(small: Pixels, lab: Floats, first: Mask, certain: Mask, method: str, seed: int) -> list[_Candidate]:
    """Refine a first guess by GrabCut and judge it; nothing where no object remains."""
    if not LEAST_COVERAGE / 2 < first.mean() < 0.97:
        return []
    mask = tidy(_grab_cut(small, first, certain, seed))
    if not LEAST_COVERAGE < mask.mean() < MOST_COVERAGE:
        return []
    return [_Candidate(mask=mask, method=method, assessment=assess(lab, mask, first))]


def _grab_cut(small: Pixels, first: Mask, certain: Mask, seed: int) -> Mask:
    import cv2
    from scipy import ndimage

    reach = max(2, round(0.012 * max(first.shape)))
    labels = np.where(first, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[ndimage.binary_erosion(first, iterations=reach) & certain] = cv2.GC_FGD
    labels[~first & (ndimage.distance_transform_edt(~first) > 2.5 * reach)] = cv2.GC_BGD
    if not ((labels == cv2.GC_FGD).any() and (labels == cv2.GC_BGD).any()):
        return first
    cv2.setRNGSeed(seed & 0x7FFFFFFF)  # GrabCut starts its colour clusters by chance
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(small[..., ::-1])
    cv2.grabCut(bgr, labels, None, *models, 3, cv2.GC_INIT_WITH_MASK)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), bool)


def tidy(mask: Mask) -> Mask:
    """Without specks, hairs of one pixel and pinholes."""
    from scipy import ndimage

    opened = ndimage.binary_opening(mask)
    labels, count = ndimage.label(opened)
    if count == 0:
        return np.zeros_like(mask)
    sizes = ndimage.sum_labels(opened, labels, np.arange(1, count + 1))
    kept = np.isin(labels, 1 + np.nonzero(sizes > SMALL_PART * sizes.max())[0])
    holes, count = ndimage.label(~kept)
    sizes = ndimage.sum_labels(~kept, holes, np.arange(1, count + 1))
    pinholes = 1 + np.nonzero(sizes < PINHOLE * mask.size)[0]
    return np.asarray(kept | np.isin(holes, pinholes), bool)


def _refine_edge(mask: Mask, small: Pixels, rgb: Pixels) -> Pixels:
    """Alpha at the full size: a guided filter (He, Sun, Tang 2010) follows the picture in a band at the edge."""
    import cv2

    guide = small.astype(np.float32).mean(axis=2) / 255
    radius = 2 * max(1, round(max(mask.shape) / 256)) + 1
    window = (2 * radius + 1, 2 * radius + 1)
    solid = mask.astype(np.float32)

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, window), np.float32)

    guide_mean, solid_mean = mean(guide), mean(solid)
    slope = (mean(guide * solid) - guide_mean * solid_mean) / (mean(guide * guide) - guide_mean**2 + 1e-3)
    guided = np.clip(mean(slope) * guide + mean(solid_mean - slope * guide_mean), 0, 1)
    band = np.abs(cv2.GaussianBlur(solid, (0, 0), 1.2) - 0.5) < 0.46
    alpha = np.where(band, 0.5 * guided + 0.5 * cv2.GaussianBlur(solid, (0, 0), 0.8), solid)
    large = cv2.resize((alpha * 255).astype(np.float32), rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(np.round(large), 0, 255), np.uint8)
