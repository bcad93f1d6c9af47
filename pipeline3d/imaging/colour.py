"""sRGB to CIE L*a*b*, where equal distances look equally different."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def to_lab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(h,w,3) uint8 sRGB → (h,w,3) float32: L* 0 to 100, a* and b* about -100 to 100 (D65)."""
    import cv2

    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)
