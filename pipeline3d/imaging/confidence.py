"""How far a cut-out can be trusted, from what can be seen of it alone.

Seven questions, each answered from 0 (no) to 1 (yes). The confidence is the geometric mean of all the
answers together and of the worst one, so that one clear no is enough to refuse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

COLOUR_BINS = (10, 12, 12)
"""Bins for L*, a* and b*: about 10 to 15 units each, finer than colours with different names."""
RING_SHARE = 0.12
"""Width of the surroundings that the object is compared with, as a share of the picture's longer side."""
LEAST_ANSWER = 0.02
"""What a clear no counts for, so that confidences of refused pictures can still be compared."""
SIDE_BLUR_PX = 2.0
"""How far into either side of the outline the colours are averaged."""
VISIBLE_STEP = 10.0
"""L*a*b* units between the two sides that make an edge; a soft shadow's rim has about half of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """`confidence` from 0 to 1, the answers by question, and the weakest one as a clause for people."""

    confidence: float
    answers: dict[str, float]
    weakest: str


CLAUSES = {
    "distinct": "its colours are those of its surroundings",
    "edged": "its outline does not follow edges of the picture",
    "closed": "part of its outline runs where the picture shows no edge",
    "inside": "it is cut off by the picture's border",
    "compact": "it falls into pieces or has a ragged outline",
    "large": "it is a small part of a busy scene",
    "stable": "two ways of looking disagree about it",
}
# What an object may be (small) and how GrabCut came to it say less than what the picture shows.
WEIGHTS = {
    "distinct": 1.0,
    "edged": 1.0,
    "closed": 1.0,
    "inside": 1.0,
    "compact": 1.0,
    "large": 0.7,
    "stable": 0.7,
}


def assess(lab: Floats, mask: Mask, first: Mask, *, least_share: float) -> Assessment:
    """Judge a mask (h,w) of a picture (h,w,3) in L*a*b*.

    `first` is the guess that the mask was refined from, `least_share` the share of the picture from
    which on an object counts as large enough to be meant.
    """
    answers = {
        "distinct": _ramp(1 - colour_overlap(lab, mask), 0.25, 0.75),
        "edged": _ramp(edge_strength(lab, mask), 1.2, 3.0),
        "closed": _ramp(outlined_share(lab, mask), 0.6, 0.9),
        "large": _ramp(float(mask.mean()), 0.2 * least_share, least_share),
        "inside": 1 - _ramp(border_share(mask), 0.06, 0.3),
        "compact": _ramp(compactness(mask), 0.25, 0.6),
        "stable": _ramp(agreement(mask, first), 0.45, 0.85),
    }
    total = sum(WEIGHTS.values())
    logarithm = sum(WEIGHTS[name] * np.log(max(value, LEAST_ANSWER)) for name, value in answers.items())
    weakest = min(answers, key=lambda name: answers[name])
    together = float(np.exp(logarithm / total))
    worst = max(answers[weakest], LEAST_ANSWER)
    return Assessment(confidence=float(np.sqrt(together * worst)), answers=answers, weakest=CLAUSES[weakest])


def colour_overlap(lab: Floats, mask: Mask) -> float:
    """Bhattacharyya coefficient of the colours inside and in a ring around: 1 is the same, 0 is disjoint."""
    from scipy import ndimage

    reach = max(3, int(RING_SHARE * max(mask.shape)))
    outside = ndimage.distance_transform_edt(~mask)
    ring = (outside > 2) & (outside <= reach)
    if not ring.any():
        return 1.0
    edges = [np.linspace(0, 100, COLOUR_BINS[0] + 1)]
    edges += [np.linspace(-90, 90, bins + 1) for bins in COLOUR_BINS[1:]]
    inside, _ = np.histogramdd(lab[mask], edges)
    around, _ = np.histogramdd(lab[ring], edges)
    blurred = [ndimage.gaussian_filter(h / max(h.sum(), 1), 0.6) for h in (inside, around)]
    return float(np.sqrt(blurred[0] * blurred[1]).sum())


def edge_strength(lab: Floats, mask: Mask) -> float:
    """Median gradient along the outline over the picture's mean gradient: 1 is no better than anywhere."""
    import cv2

    smooth = cv2.GaussianBlur(lab, (0, 0), 1.2)
    down, right = (
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125),
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125),
    )
    gradient = np.sqrt((down**2 + right**2).sum(axis=2))
    outline = outline_of(mask)
    if not outline.any():
        return 0.0
    best_nearby = cv2.dilate(gradient, np.ones((3, 3), np.uint8))
    return float(np.median(best_nearby[outline]) / max(float(gradient.mean()), 0.35))


def outlined_share(lab: Floats, mask: Mask) -> float:
    """Share of the outline at which the colours just inside and just outside can be told apart."""
    import cv2

    def mean_colour(part: Mask) -> Floats:
        weight = part.astype(np.float32)
        total = cv2.GaussianBlur(weight, (0, 0), SIDE_BLUR_PX)[..., None]
        blurred = cv2.GaussianBlur(lab * weight[..., None], (0, 0), SIDE_BLUR_PX)
        return np.asarray(blurred / np.maximum(total, 1e-4), np.float32)

    outline = outline_of(mask)
    if not outline.any():
        return 0.0
    step = np.linalg.norm((mean_colour(mask) - mean_colour(~mask))[outline], axis=1)
    return float((step > VISIBLE_STEP).mean())


def outline_of(mask: Mask) -> Mask:
    """The pixels on both sides of the mask's edge, except where the picture ends."""
    import cv2

    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    solid = mask.astype(np.uint8)
    outline = cv2.morphologyEx(solid, cv2.MORPH_GRADIENT, cross).astype(bool)
    outline[:2], outline[-2:], outline[:, :2], outline[:, -2:] = False, False, False, False
    return np.asarray(outline, bool)


def border_share(mask: Mask) -> float:
    """Share of the picture's border that the mask lies on."""
    rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float(rim.mean())


def compactness(mask: Mask) -> float:
    """Share of the largest part, times how much of its convex hull the mask fills."""
    import cv2
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, np.arange(1, count + 1))
    largest = float(sizes.max() / sizes.sum())
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    hull = float(cv2.contourArea(cv2.convexHull(points)))
    return largest * min(1.0, float(mask.sum()) / max(hull, 1.0))


def agreement(mask: Mask, first: Mask) -> float:
    """Intersection over union of the mask and the guess that it came from."""
    return float((mask & first).sum() / max(int((mask | first).sum()), 1))


def _ramp(value: float, low: float, high: float) -> float:
    """0 at `low`, 1 at `high`, straight between."""
    return float(np.clip((value - low) / (high - low), 0, 1))
