"""L*a*b* of colours that are known (CIE 15, D65)."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.imaging.colour import to_lab


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((255, 255, 255), (100, 0, 0)),
        ((255, 0, 0), (53.2, 80.1, 67.2)),
        ((0, 0, 255), (32.3, 79.2, -107.9)),
    ],
)
def test_known_colours_have_their_coordinates(rgb, lab):
    assert to_lab(np.array([[rgb]], np.uint8))[0, 0] == pytest.approx(lab, abs=0.6)
