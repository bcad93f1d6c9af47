"""How far each pixel is from a plain backdrop, modelled from the picture's border.

A backdrop is smooth: a robust quadratic for each colour channel, fitted to the border by iteratively
re-weighted least squares (an object that touches the border must not bend it), plus up to three further
colours where the border has several (a table edge, a two-tone wall). Colours are CIE L*a*b*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

BORDER_SHARE = 0.035
"""Width of the border, as a share of the longer side."""
SHADOW_DEPTH = 28.0
"""A shadow darkens the backdrop by up to this much lightness ..."""
SHADOW_WEIGHT = 0.45
"""... and counts this much; its colour stays."""
SHADOW_CHROMA = 9.0
CHROMA_WEIGHT = 1.6
FIT_ROUNDS = 6
OUTLIER_SPREADS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backdrop:
    """distance (h,w) from the backdrop in L*a*b* units; `spread` is the border's own noise.

    `explained` is the share of the border that the model accounts for; `may_be_shadow` (h,w) marks what is
    only darker than the backdrop.
    """

    distance: Floats
    spread: float
    explained: float
    may_be_shadow: npt.NDArray[np.bool_]


def model_backdrop(lab: Floats) -> Backdrop:
    """The backdrop of a picture (h,w,3) in L*a*b*."""
    height, width = lab.shape[:2]
    border = border_mask(height, width)
    terms = _quadratic_terms(height, width)
    colours = lab[border]
    coefficients, residuals, spread = _fit_robustly(terms[border], colours)
    difference = lab - (terms.reshape(-1, 6) @ coefficients).reshape(lab.shape).astype(np.float32)
    lightness = difference[..., 0]
    in_shadow_range = (lightness < 0) & (lightness > -SHADOW_DEPTH)
    chroma = np.hypot(difference[..., 1], difference[..., 2])
    weighted = np.where(in_shadow_range, SHADOW_WEIGHT * lightness, lightness)
    distance = np.sqrt(weighted**2 + CHROMA_WEIGHT * chroma**2)
    outliers = residuals > OUTLIER_SPREADS * spread
    for mean, deviation in _further_colours(colours[outliers], len(colours)):
        distance = np.minimum(distance, np.linalg.norm((lab - mean) / deviation, axis=2) * spread)
    return Backdrop(
        distance=distance.astype(np.float32),
        spread=float(spread),
        explained=float((distance[border] <= OUTLIER_SPREADS * spread).mean()),
        may_be_shadow=(lightness < 0) & (chroma < SHADOW_CHROMA),
    )


def border_mask(height: int, width: int) -> npt.NDArray[np.bool_]:
    """(h,w), true on the frame of the picture."""
    depth = max(2, int(BORDER_SHARE * max(height, width)))
    mask = np.ones((height, width), bool)
    mask[depth:-depth, depth:-depth] = False
    return mask


def _quadratic_terms(height: int, width: int) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / width - 0.5, y / height - 0.5
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _fit_robustly(
    terms: npt.NDArray[np.float64], colours: Floats
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Coefficients (6,3), residual of each border pixel, and their spread (at least one unit)."""
    values = colours.astype(np.float64)
    median = np.median(values, axis=0)
    weights = 1 / (1 + (np.linalg.norm(values - median, axis=1) / 12) ** 2)
    for _ in range(FIT_ROUNDS):
        weighted = terms * weights[:, None]
        coefficients = np.linalg.solve(terms.T @ weighted + 1e-3 * np.eye(6), weighted.T @ values)
        residuals = np.linalg.norm(values - terms @ coefficients, axis=1)
        spread = max(1.0, 1.48 * float(np.median(residuals)))
        weights = 1 / (1 + (residuals / (2.5 * spread)) ** 2)
    return coefficients, residuals, spread


def _further_colours(colours: Floats, border_pixels: int) -> list[tuple[Floats, Floats]]:
    """Mean and deviation of the colours that a good part of the border has besides the backdrop."""
    if len(colours) < 0.12 * border_pixels:
        return []
    order = np.argsort(colours[:, 0], kind="stable")
    centres = colours[order[np.linspace(0, len(colours) - 1, 3).astype(int)]].astype(np.float64)
    for _ in range(8):
        nearest = np.argmin(((colours[:, None] - centres) ** 2).sum(axis=-1), axis=1)
        for i in range(len(centres)):
            if (nearest == i).any():
                centres[i] = colours[nearest == i].mean(axis=0)
    groups = [colours[nearest == i] for i in range(len(centres))]
    return [
        (group.mean(axis=0), np.maximum(group.std(axis=0), 2))
        for group in groups
        if len(group) > 0.08 * border_pixels
    ]
