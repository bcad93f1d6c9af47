"""The backdrop model follows gradients and noise, and keeps objects out."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.imaging.backdrop import OUTLIER_SPREADS, border_mask, model_backdrop
from pipeline3d.imaging.colour import to_lab
from pipeline3d_tests.pictures import BACKDROPS, draw


@pytest.mark.parametrize("backdrop", BACKDROPS)
def test_backdrops_are_near_and_the_object_is_far(backdrop):
    drawing = draw("teddy", backdrop, size=256)
    model = model_backdrop(to_lab(drawing.rgb))
    inside = drawing.truth > 0.99
    assert model.explained > 0.98
    assert np.median(model.distance[inside]) > 5 * np.median(model.distance[drawing.truth == 0])


def test_a_shadow_is_marked_and_counts_less():
    flat = np.full((120, 120, 3), 180, np.uint8)
    shaded, tinted = flat.copy(), flat.copy()
    shaded[40:80, 40:80] = 140  # darker, the same hue
    tinted[40:80, 40:80] = (180, 140, 140)  # about as dark, reddish
    shadow, stain = model_backdrop(to_lab(shaded)), model_backdrop(to_lab(tinted))
    assert shadow.may_be_shadow[60, 60]
    assert not stain.may_be_shadow[60, 60]
    assert shadow.distance[60, 60] < 0.6 * stain.distance[60, 60]


def test_an_object_at_the_border_does_not_bend_the_fit():
    picture = np.full((120, 120, 3), 200, np.uint8)
    picture[90:, 30:60] = (20, 90, 20)
    model = model_backdrop(to_lab(picture))
    assert model.distance[20, 20] < 1
    assert model.distance[110, 45] > OUTLIER_SPREADS * model.spread


def test_the_border_is_a_frame():
    mask = border_mask(100, 200)
    assert mask[0].all()
    assert mask[:, -1].all()
    assert not mask[20:-20, 20:-20].any()
