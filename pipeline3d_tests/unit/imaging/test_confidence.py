"""Each question answers no where it should, and one clear no is enough."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline3d.imaging.colour import to_lab
from pipeline3d.imaging.confidence import CLAUSES, WEIGHTS, assess
from pipeline3d_tests.pictures import draw

SIZE = 200
DRAWING = draw("apple", "graded", size=SIZE)
TRUTH = DRAWING.truth > 0.5
LAB = to_lab(DRAWING.rgb)


def judged(mask: np.ndarray, *, lab: np.ndarray = LAB, first: np.ndarray | None = None):
    return assess(lab, mask, mask if first is None else first, least_share=0.01)


def test_the_right_mask_is_trusted():
    assert judged(TRUTH).confidence > 0.95


HALF = TRUTH.copy()
HALF[: SIZE // 2 + 10] = False
SHIFTED = np.roll(TRUTH, 40, axis=1)
AT_BORDER = np.zeros_like(TRUTH)
AT_BORDER[:, :120] = True
SPECKS = ndimage.binary_dilation(np.random.default_rng(0).random((SIZE, SIZE)) > 0.995, iterations=2)
TINY = np.zeros_like(TRUTH)
TINY[100:106, 100:106] = True


@pytest.mark.parametrize(
    ("mask", "question"),
    [
        pytest.param(HALF, "closed", id="half the object: one side of the outline has no edge"),
        pytest.param(SHIFTED, "closed", id="beside the object"),
        pytest.param(AT_BORDER, "inside", id="half the picture"),
        pytest.param(SPECKS, "compact", id="specks"),
        pytest.param(TINY, "large", id="a speck of the object"),
    ],
)
def test_wrong_masks_fail_the_question_that_is_about_them(mask, question):
    assessment = judged(mask)
    assert assessment.answers[question] < 0.35
    assert assessment.confidence < 0.65


def test_a_mask_that_moved_far_from_its_first_guess_is_not_stable():
    assessment = judged(TRUTH, first=SHIFTED)
    assert assessment.answers["stable"] < 0.35
    assert assessment.weakest == CLAUSES["stable"]


def test_noise_has_no_distinct_object():
    noise = to_lab(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    assessment = judged(TRUTH, lab=noise)
    assert assessment.answers["distinct"] < 0.35
    assert assessment.confidence < 0.3


def test_every_question_has_a_weight_and_a_clause():
    assert set(judged(TRUTH).answers) == set(WEIGHTS) == set(CLAUSES)
