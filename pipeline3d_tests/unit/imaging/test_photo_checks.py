"""Every fault of a photo is found by its own name, good photos pass, and the best one is taken."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.imaging.decoding import decode_picture
from pipeline3d.imaging.matting import Matte, cut_out
from pipeline3d.imaging.photo_checks import (
    CHECKS,
    Finding,
    PhotoVerdict,
    choose_photo,
    explain_choice,
    judge_photo,
)
from pipeline3d_tests.pictures import (
    OBJECTS,
    cut_out_drawing,
    draw,
    encode,
    real_photograph,
)

PLAIN = draw("teddy", "plain", size=768)


def matte_of(truth: np.ndarray, *, method: str = "rembg:u2net", confidence: float = 1.0) -> Matte:
    alpha = (truth * 255 + 0.5).astype(np.uint8)
    return Matte(alpha=alpha, method=method, coverage=float((alpha >= 128).mean()), confidence=confidence)


def judge(rgb: np.ndarray, truth: np.ndarray, **options) -> PhotoVerdict:
    """The verdict with the true matte: the checks are tested here, not the cut-out."""
    picture = decode_picture(encode(rgb, compress_level=0))
    return judge_photo(picture, matte_of(truth, **options), refusal=None)


@functools.cache
def judge_plain() -> PhotoVerdict:
    """The verdict about a good photo, which others are compared with."""
    return judge(PLAIN.rgb, PLAIN.truth)


def blur(rgb: np.ndarray, pixels: float) -> np.ndarray:
    return cv2.GaussianBlur(rgb, (0, 0), pixels) if pixels else rgb


def move(rgb: np.ndarray, pixels: int) -> np.ndarray:
    """As if the camera had moved sideways while the shutter was open."""
    kernel = np.zeros((pixels, pixels), np.float32)
    kernel[pixels // 2] = 1 / pixels
    return cv2.filter2D(rgb, -1, kernel)


def brighten(rgb: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(rgb.astype(np.float32) * factor, 0, 255).astype(np.uint8)


def before(name: str) -> np.ndarray:
    """The teddy before a photograph instead of a wall."""
    scene = cv2.resize(decode_picture(real_photograph(name)).rgb, PLAIN.rgb.shape[1::-1])
    part = PLAIN.truth[..., None]
    return (scene * (1 - part) + PLAIN.rgb * part).astype(np.uint8)


def severities(verdict: PhotoVerdict) -> dict[str, str]:
    return {finding.code: finding.severity for finding in verdict.findings}


@pytest.mark.parametrize("backdrop", ["noisy", "shadowed"])
@pytest.mark.parametrize("subject", OBJECTS)
def test_nothing_is_found_against_a_good_photo(subject, backdrop):
    picture = decode_picture(encode(draw(subject, backdrop, size=768).rgb, "JPEG", quality=90))
    verdict = judge_photo(picture, cut_out(picture), refusal=None)
    assert verdict.findings == ()
    assert verdict.usable
    assert verdict.score > 0.75


def test_nothing_is_found_against_the_photograph_of_a_flower():
    picture = decode_picture(real_photograph("flower.jpg"))
    verdict = judge_photo(picture, cut_out(picture), refusal=None)
    assert verdict.usable
    assert verdict.findings == ()


@pytest.mark.parametrize(
    ("share", "lengths", "severity"),
    [
        (0.0, (130,), None),
        (0.001, (130, 260, 520, 800), None),
        (0.006, (520, 800), "warning"),
        (0.012, (520, 800), "error"),
        (0.03, (260, 520, 800), "error"),
    ],
)
@pytest.mark.parametrize("subject", ["teddy", "mug"])
def test_blur_of_the_same_share_of_the_object_is_judged_alike_at_every_size(
    subject, share, lengths, severity
):
    for length in lengths:
        drawing = draw(subject, "noisy", size=round(length / {"teddy": 0.835, "mug": 0.54}[subject]))
        found = severities(judge(blur(drawing.rgb, share * length), drawing.truth))
        assert found.get("blurred") == severity, f"the object is {length} pixels long"


def test_the_score_falls_with_every_step_of_blur():
    scores = [judge(blur(PLAIN.rgb, pixels), PLAIN.truth).score for pixels in (1, 2, 3, 4, 5)]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize(("noise", "contrast"), [(0, 0.25), (8, 0.5), (16, 1.0), (16, 0.25)])
def test_neither_low_contrast_nor_noise_changes_what_is_blurred(contrast, noise):
    def seen(rgb: np.ndarray) -> str | None:
        grain = np.random.default_rng(0).normal(0, noise * contrast, rgb.shape)
        faint = 128 + (rgb.astype(np.float32) - 128 + grain) * contrast
        return severities(judge(np.clip(faint, 0, 255).astype(np.uint8), PLAIN.truth)).get("blurred")

    assert seen(PLAIN.rgb) is None
    assert seen(blur(PLAIN.rgb, 8)) == "error"


def test_a_camera_that_moved_blurs_although_edges_along_the_movement_stay_sharp():
    assert severities(judge(move(PLAIN.rgb, 31), PLAIN.truth)) == {"blurred": "error"}


def test_the_photograph_of_a_moving_clock_is_blurred():
    picture = decode_picture(real_photograph("clock_motion.png"))
    with pytest.raises(UnusableInput) as refusal:
        cut_out(picture)
    codes = severities(judge_photo(picture, None, refusal=refusal.value))
    assert codes["no_clear_object"] == "error"
    assert "blurred" in codes


@pytest.mark.parametrize("name", ["flower.jpg", "coffee.png", "astronaut.png", "camera.png", "grass.png"])
def test_sharp_photographs_are_not_called_blurred(name):
    picture = decode_picture(real_photograph(name))
    refusal = UnusableInput("No clear object was found.", code="no_clear_object")
    assert "blurred" not in severities(judge_photo(picture, None, refusal=refusal))


def test_a_blurred_background_is_no_fault():
    scene = blur(before("motorcycle_left.png"), 12)
    part = PLAIN.truth[..., None]
    verdict = judge((scene * (1 - part) + PLAIN.rgb * part).astype(np.uint8), PLAIN.truth)
    assert "blurred" not in severities(verdict)


def _enlarged() -> tuple[np.ndarray, np.ndarray]:
    thumbnail = draw("teddy", "plain", size=96).rgb
    return cv2.resize(thumbnail, (768, 768), interpolation=cv2.INTER_CUBIC), PLAIN.truth


def _tiny_in_frame() -> tuple[np.ndarray, np.ndarray]:
    rgb, truth = np.full((900, 900, 3), PLAIN.rgb[0, 0], np.uint8), np.zeros((900, 900), np.float32)
    rgb[400:550, 400:550] = cv2.resize(PLAIN.rgb, (150, 150), interpolation=cv2.INTER_AREA)
    truth[400:550, 400:550] = cv2.resize(PLAIN.truth, (150, 150), interpolation=cv2.INTER_AREA)
    return rgb, truth


def _two_objects(side: int) -> tuple[np.ndarray, np.ndarray]:
    """An apple of 512 pixels, and one of `side` pixels on its right."""
    large, small = draw("apple", "plain", size=512), draw("apple", "plain", size=side)
    rgb, truth = (
        np.full((512, 512 + side, 3), large.rgb[0, 0], np.uint8),
        np.zeros((512, 512 + side), np.float32),
    )
    rgb[:, :512], truth[:, :512] = large.rgb, large.truth
    rgb[-side:, 512:], truth[-side:, 512:] = small.rgb, small.truth
    return rgb, truth


def _small(size: int) -> tuple[np.ndarray, np.ndarray]:
    drawing = draw("teddy", "plain", size=size)
    return drawing.rgb, drawing.truth


def _white_vase(factor: float) -> tuple[np.ndarray, np.ndarray]:
    drawing = draw("vase", "graded", size=768)
    pale = np.where(drawing.truth[..., None] > 0.5, 150 + drawing.rgb // 4, drawing.rgb // 2)
    return brighten(pale, factor), drawing.truth


@pytest.mark.parametrize(
    ("photo", "found"),
    [
        pytest.param(
            lambda: _small(96), {"picture_too_small": "error", "object_too_small": "warning"}, id="an icon"
        ),
        pytest.param(lambda: _small(300), {"picture_too_small": "warning"}, id="a preview"),
        pytest.param(_enlarged, {"blurred": "warning"}, id="an icon, enlarged"),
        pytest.param(
            _tiny_in_frame,
            {"object_too_small": "warning", "object_small_in_frame": "warning"},
            id="from far away",
        ),
        pytest.param(lambda: (PLAIN.rgb[160:], PLAIN.truth[160:]), {"cropped": "error"}, id="half the head"),
        pytest.param(
            lambda: (PLAIN.rgb[:, 165:], PLAIN.truth[:, 165:]), {"cropped": "warning"}, id="a bit of an arm"
        ),
        pytest.param(lambda: (PLAIN.rgb[:, 140:], PLAIN.truth[:, 140:]), {}, id="close to the border"),
        pytest.param(lambda: _two_objects(512), {"several_objects": "warning"}, id="two equal apples"),
        pytest.param(
            lambda: _two_objects(300), {"several_objects": "warning"}, id="a large and a small apple"
        ),
        pytest.param(lambda: _two_objects(100), {}, id="an apple and a crumb"),
        pytest.param(lambda: (brighten(PLAIN.rgb, 0.4), PLAIN.truth), {"underexposed": "warning"}, id="dusk"),
        pytest.param(lambda: (brighten(PLAIN.rgb, 0.15), PLAIN.truth), {"underexposed": "error"}, id="night"),
        pytest.param(lambda: (brighten(PLAIN.rgb, 1.5), PLAIN.truth), {}, id="a bright day"),
        pytest.param(lambda: _white_vase(1.0), {}, id="a pale vase"),
        pytest.param(lambda: _white_vase(2.5), {"overexposed": "error"}, id="a pale vase in the flash"),
        pytest.param(
            lambda: (before("motorcycle_left.png"), PLAIN.truth), {"busy_background": "warning"}, id="garage"
        ),
        pytest.param(
            lambda: (before("gravel.png"), PLAIN.truth), {"busy_background": "warning"}, id="on gravel"
        ),
        pytest.param(
            lambda: (before("coins.png"), PLAIN.truth), {"busy_background": "warning"}, id="among coins"
        ),
    ],
)
def test_a_fault_is_found_by_its_name_and_lowers_the_score(photo, found):
    verdict = judge(*photo())
    assert severities(verdict) == found
    assert verdict.usable == ("error" not in found.values())
    if found:
        assert verdict.score < judge_plain().score


def test_a_black_object_before_a_white_wall_is_not_underexposed():
    part = PLAIN.truth[..., None]
    rgb = (235 * (1 - part) + 0.08 * PLAIN.rgb * part).astype(np.uint8)
    assert "underexposed" not in severities(judge(rgb, PLAIN.truth))


def test_a_photo_measures_like_its_smaller_copy():
    large = judge(blur(PLAIN.rgb, 4), PLAIN.truth)
    half = draw("teddy", "plain", size=384)
    small = judge(cv2.resize(blur(PLAIN.rgb, 4), (384, 384), interpolation=cv2.INTER_AREA), half.truth)
    assert severities(large)["blurred"] == "warning"
    blurs = [f.value for verdict in (large, small) for f in verdict.findings if f.code == "blurred"]
    assert all(value == pytest.approx(blurs[0], rel=0.5) for value in blurs)


def test_the_size_is_that_of_the_file_and_not_of_the_shrunk_picture():
    picture = decode_picture(encode(PLAIN.rgb), max_side=256)
    alpha = cv2.resize(PLAIN.truth, (256, 256), interpolation=cv2.INTER_AREA)
    verdict = judge_photo(picture, matte_of(alpha), refusal=None)
    assert "picture_too_small" not in severities(verdict)
    assert "object_too_small" not in severities(verdict)


def test_a_cut_out_that_is_trimmed_to_its_object_is_usable():
    pixels = cut_out_drawing("mug", size=900)
    rows, columns = np.nonzero(pixels[..., 3] > 128)
    picture = decode_picture(encode(pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]))
    verdict = judge_photo(picture, cut_out(picture), refusal=None)
    assert severities(verdict) == {"cropped": "warning"}
    assert verdict.usable


def test_what_lies_under_a_pictures_own_alpha_is_not_judged():
    pixels = np.dstack([before("gravel.png"), (PLAIN.truth * 255).astype(np.uint8)])
    picture = decode_picture(encode(pixels))
    assert severities(judge_photo(picture, cut_out(picture), refusal=None)) == {}


def test_a_low_confidence_lowers_the_score():
    sure, unsure = (judge(PLAIN.rgb, PLAIN.truth, confidence=value) for value in (1.0, 0.5))
    assert unsure.score == pytest.approx(sure.score / 2, abs=1e-3)


def test_a_refusal_is_an_error_with_its_own_code_and_figures():
    refusal = UnusableInput(
        "No clear object was found.", code="no_clear_object", details={"confidence": 0.3, "needed": 0.65}
    )
    verdict = judge_photo(decode_picture(encode(PLAIN.rgb)), None, refusal=refusal)
    assert not verdict.usable
    assert verdict.score == 0
    assert verdict.findings == (
        Finding(
            code="no_clear_object",
            severity="error",
            message="no clear object was found",
            value=0.3,
            limit=0.65,
        ),
    )


def test_a_photo_that_was_not_even_fetched_has_only_its_refusal():
    refusal = UnusableInput("The address answers with 404.", code="photo_not_fetched")
    verdict = judge_photo(None, None, refusal=refusal)
    assert severities(verdict) == {"photo_not_fetched": "error"}


def test_a_matte_that_shows_nothing_is_an_error():
    verdict = judge(PLAIN.rgb, np.zeros_like(PLAIN.truth))
    assert severities(verdict)["no_clear_object"] == "error"
    assert not verdict.usable


@pytest.mark.parametrize("content", [None, encode(np.zeros((40, 40, 3), np.uint8))])
def test_a_photo_without_matte_and_without_reason_is_a_mistake_of_the_caller(content):
    picture = decode_picture(content) if content else None
    with pytest.raises(ValueError, match="refusal"):
        judge_photo(picture, None, refusal=None)


@pytest.mark.parametrize("size", [(32, 32), (33, 700), (700, 33)])
def test_the_smallest_pictures_are_judged_without_an_accident(size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for truth in (np.ones(size), np.eye(*size)):
        assert not judge(rgb, truth.astype(np.float32)).usable


def verdict_of(score: float, *findings: tuple[str, str]) -> PhotoVerdict:
    return PhotoVerdict(
        usable=all(severity != "error" for _, severity in findings),
        score=score,
        findings=tuple(
            Finding(code=code, severity=severity, message=f"it is {code}")  # type: ignore[arg-type]
            for code, severity in findings
        ),
    )


GOOD, FAIR = verdict_of(0.9), verdict_of(0.5, ("busy", "warning"))
BAD, WORSE = verdict_of(0.95, ("blurred", "error")), verdict_of(0.0, ("empty", "error"), ("small", "warning"))


@pytest.mark.parametrize(
    ("verdicts", "best", "said"),
    [
        ([GOOD], 0, ["only photo", "0.90", "Nothing speaks against it"]),
        ([FAIR], 0, ["only photo", "0.50", "it is busy"]),
        ([FAIR, GOOD], 1, ["Photo 2 of 2", "0.90", "photo 1", "0.50", "it is busy"]),
        ([BAD, FAIR, WORSE], 1, ["Photo 2 of 3", "only usable", "it is busy"]),  # an error outweighs a score
        ([WORSE, GOOD, GOOD], 1, ["Photo 2 of 3", "first"]),  # of equals the shop's first
        ([FAIR, BAD, GOOD], 2, ["Photo 3 of 3", "photo 1", "it is busy"]),
    ],
)
def test_the_best_usable_photo_is_chosen_and_said_why(verdicts, best, said):
    assert choose_photo(verdicts) == best
    sentence = explain_choice(verdicts, best)
    assert all(part in sentence for part in said)
    assert sentence.endswith(".")


def test_without_a_usable_photo_every_photos_reason_is_given():
    with pytest.raises(UnusableInput) as refusal:
        choose_photo([BAD, WORSE])
    assert refusal.value.code == "no_usable_photo"
    assert "photo 1: it is blurred; photo 2: it is empty" in refusal.value.message
    assert refusal.value.hint
    assert [[found["code"] for found in photo] for photo in refusal.value.details["photos"]] == [
        ["blurred"],
        ["empty", "small"],
    ]


def test_no_photo_at_all_is_refused():
    with pytest.raises(UnusableInput) as refusal:
        choose_photo([])
    assert refusal.value.code == "no_usable_photo"


def test_a_sharp_photo_is_chosen_before_a_blurred_a_dark_and_a_cropped_one():
    photos = [
        (blur(PLAIN.rgb, 4), PLAIN.truth),
        (PLAIN.rgb[:, 165:], PLAIN.truth[:, 165:]),
        (PLAIN.rgb, PLAIN.truth),
        (brighten(PLAIN.rgb, 0.4), PLAIN.truth),
        (before("gravel.png"), PLAIN.truth),
    ]
    verdicts = [judge(*photo) for photo in photos]
    assert choose_photo(verdicts) == 2
    assert "Photo 3 of 5" in explain_choice(verdicts, 2)


def test_limits_run_from_good_over_warning_to_error_in_one_direction():
    for check in CHECKS:
        steps = [check.good, check.warning, *([] if check.error is None else [check.error])]
        assert steps in (sorted(steps), sorted(steps, reverse=True))
        assert len(set(steps)) == len(steps)
        assert 0 < check.weight < 1
