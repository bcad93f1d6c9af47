"""What is salient: the thing in the middle that differs from the border, not the border's own colours."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.imaging.colour import to_lab
from pipeline3d.imaging.saliency import find_salient
from pipeline3d_tests.pictures import draw


@pytest.mark.parametrize("subject", ["apple", "teddy", "mug"])
def test_objects_are_more_salient_than_what_is_around_them(subject):
    drawing = draw(subject, "graded", size=200)
    salient = find_salient(to_lab(drawing.rgb))
    assert salient[drawing.truth > 0.99].mean() > 0.6
    assert salient[drawing.truth == 0].mean() < 0.15


def test_a_scene_of_two_colours_at_the_border_is_background():
    """Sky above, sand below, a ball between: a plain backdrop cannot explain both."""
    picture = np.zeros((150, 150, 3), np.uint8)
    picture[:75], picture[75:] = (120, 170, 230), (220, 200, 140)
    rows, columns = np.mgrid[0:150, 0:150]
    ball = np.hypot(rows - 75, columns - 75) < 25
    picture[ball] = (180, 30, 40)
    salient = find_salient(to_lab(picture))
    assert salient[ball].mean() > 0.7
    assert salient[~ball].mean() < 0.15


def test_saliency_stays_between_0_and_1_on_an_even_picture():
    salient = find_salient(to_lab(np.full((80, 60, 3), 99, np.uint8)))
    assert salient.shape == (80, 60)
    assert 0 <= salient.min() <= salient.max() <= 1
