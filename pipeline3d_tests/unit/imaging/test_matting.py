"""A cut-out is right, or the picture is refused: never a wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.imaging.decoding import decode_picture
from pipeline3d.imaging.matting import LEAST_CONFIDENCE, cut_out, tidy
from pipeline3d_tests.pictures import (
    BACKDROPS,
    OBJECTS,
    draw,
    draw_backdrop,
    draw_noise,
    draw_text_page,
    encode,
    overlap,
    real_photograph,
)


@pytest.mark.parametrize("backdrop", BACKDROPS)
@pytest.mark.parametrize("subject", OBJECTS)
def test_drawn_objects_are_cut_out_along_their_outline(subject, backdrop):
    drawing = draw(subject, backdrop, size=384)
    matte = cut_out(decode_picture(encode(drawing.rgb, "JPEG", quality=92)))
    assert overlap(matte.alpha >= 128, drawing.truth > 0.5) >= 0.97
    assert matte.confidence >= LEAST_CONFIDENCE
    assert matte.method == "backdrop"


def test_the_hole_of_a_handle_stays_open_in_the_mugs_own_shadow():
    drawing = draw("mug", "shadowed")
    alpha = cut_out(decode_picture(encode(drawing.rgb))).alpha
    middle_of_the_hole = (int(0.525 * 512), int(0.66 * 512))
    assert drawing.truth[middle_of_the_hole] == 0
    assert alpha[middle_of_the_hole] == 0


def test_a_pictures_own_alpha_is_taken_as_it_is():
    drawing = draw("teddy", "noisy", size=256)
    own = (drawing.truth * 255).astype(np.uint8)
    matte = cut_out(decode_picture(encode(np.dstack([drawing.rgb, own]))))
    assert matte.method == "alpha"
    assert np.array_equal(matte.alpha, own)


def test_an_alpha_channel_that_hides_nothing_is_no_cut_out():
    drawing = draw("apple", "plain", size=256)
    nearly_opaque = np.full(drawing.truth.shape, 250, np.uint8)
    matte = cut_out(decode_picture(encode(np.dstack([drawing.rgb, nearly_opaque]))))
    assert matte.method == "backdrop"
    assert overlap(matte.alpha >= 128, drawing.truth > 0.5) >= 0.97


def test_the_flower_is_cut_out_and_its_cut_off_neighbour_is_left():
    matte = cut_out(decode_picture(real_photograph("flower.jpg")))
    rows, columns = np.nonzero(matte.alpha >= 128)
    assert columns.min() > 150
    assert columns.max() < 460
    assert rows.min() > 60
    assert rows.max() < 375
    assert 0.18 < matte.coverage < 0.26
    assert matte.alpha[220, 305] == 255


@pytest.mark.parametrize(
    "name",
    [
        "rocket.jpg",  # a small thing among towers and lights
        "coffee.png",  # a red-brown saucer on red-brown wood
        "chelsea.png",  # a cat that fills the frame
        "astronaut.png",  # cut off on three sides
        "camera.png",  # a dark coat separates, a grey face does not: half a man
        "motorcycle_left.png",  # spokes and clutter
        "china.jpg",  # a landscape
        "moon.png",  # craters
        "coins.png",  # many objects
        "page.png",  # text
        "brick.png",  # textures have no object
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",  # a thousand small things
        "clock_motion.png",  # blurred by motion
    ],
)
def test_photographs_that_cannot_be_cut_out_well_are_refused(name):
    with pytest.raises(UnusableInput) as refusal:
        cut_out(decode_picture(real_photograph(name)))
    assert refusal.value.code == "no_clear_object"
    assert 0 <= refusal.value.details["confidence"] < LEAST_CONFIDENCE
    assert "background" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.zeros((200, 200, 3), np.uint8), id="black"),
        pytest.param(np.full((200, 200, 3), 255, np.uint8), id="white"),
        pytest.param(draw_noise(), id="noise"),
        pytest.param(draw_backdrop("graded"), id="a wall"),
        pytest.param(draw_backdrop("noisy"), id="a rough wall"),
        pytest.param(draw_text_page(), id="text"),
        pytest.param(np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3)), id="gradient"),
        pytest.param(
            np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((40, 40)))[..., None].repeat(3, 2).astype(np.uint8)
            * 200,
            id="checkerboard",
        ),
        pytest.param(
            draw("teddy", "plain", size=512).rgb[190:330, 190:330], id="an object that fills the frame"
        ),
    ],
)
def test_pictures_without_an_object_are_refused(pixels):
    with pytest.raises(UnusableInput) as refusal:
        cut_out(decode_picture(encode(pixels)))
    assert refusal.value.code == "no_clear_object"


def test_a_transparent_picture_is_refused():
    with pytest.raises(UnusableInput) as refusal:
        cut_out(decode_picture(encode(np.zeros((64, 64, 4), np.uint8))))
    assert refusal.value.code == "no_clear_object"


def test_the_same_picture_and_seed_give_the_same_matte():
    picture = decode_picture(encode(draw("teddy", "noisy", size=300).rgb))
    first, second = cut_out(picture, seed=5), cut_out(picture, seed=5)
    assert np.array_equal(first.alpha, second.alpha)
    assert first.confidence == second.confidence


def test_tidying_drops_specks_and_cut_off_neighbours_and_fills_pinholes():
    mask = np.zeros((100, 100), bool)
    mask[30:70, 30:70] = True
    mask[50, 50] = False  # a pinhole
    mask[5:8, 5:8] = True  # a speck
    mask[80:100, 80:100] = True  # a neighbour that the border cuts off
    wanted = np.zeros((100, 100), bool)
    wanted[30:70, 30:70] = True
    assert overlap(tidy(mask), wanted) > 0.99
