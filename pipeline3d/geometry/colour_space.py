"""Between sRGB and linear light, and what happens to light that is too bright for a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SHOULDER = 0.8
"""Light up to here is shown as it is: the colours of a photograph or a designer come out unchanged."""
DESATURATION = 0.15


def to_linear(srgb: npt.NDArray[np.floating]) -> Floats:
    """sRGB 0 to 1 → linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: npt.NDArray[np.floating]) -> Floats:
    """Linear light 0 to 1 → sRGB."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(
        np.float32
    )


def compress_highlights(light: Floats) -> Floats:
    """Linear colours (k,3) of any brightness → at most 1; below SHOULDER nothing changes.

    The shoulder of Khronos' PBR Neutral tone mapper (2024), without its offset for reflections.
    """
    peak = np.maximum(np.maximum(light[:, 0], light[:, 1]), light[:, 2])
    bright = np.flatnonzero(peak > SHOULDER)
    if not len(bright):
        return light
    room = np.float32(1 - SHOULDER)
    before = peak[bright]
    after = 1 - room * room / (before + room - SHOULDER)
    towards_white = 1 - 1 / (DESATURATION * (before - after) + 1)
    scaled = light[bright] * (after / before)[:, None]
    result = light.copy()
    result[bright] = scaled + (after[:, None] - scaled) * towards_white[:, None]
    return result
