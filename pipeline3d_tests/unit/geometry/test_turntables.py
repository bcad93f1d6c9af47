"""A turntable turns once, in order, without drawing what nobody takes."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pipeline3d.errors import BrokenModelOutput, InvalidParameters
from pipeline3d.geometry import turntables
from pipeline3d.geometry.cameras import Camera
from pipeline3d.geometry.mesh import Material, Model
from pipeline3d.geometry.rendering import render
from pipeline3d.geometry.turntables import PLANS, render_turntable
from pipeline3d_tests.painted_models import ball, card

TWO = Model(
    parts=(
        ball(Material(base_colour=(1, 0, 0, 1)), centre=(0, 0, 1), radius=0.5),
        ball(Material(base_colour=(0, 1, 0, 1)), centre=(1, 0, 0), radius=0.5),
    )
)


def test_every_frame_is_the_picture_from_its_angle():
    frames = list(render_turntable(TWO, frames=5, size_px=32, camera=Camera(azimuth_deg=10)))
    assert len(frames) == 5
    for number, frame in enumerate(frames):
        alone = render(TWO, size_px=32, camera=Camera(azimuth_deg=10 + 72 * number))
        assert np.array_equal(frame, alone)


def test_what_was_on_the_right_comes_to_the_front():
    first, second, *_ = render_turntable(
        TWO, frames=4, size_px=32, camera=Camera(azimuth_deg=0, elevation_deg=0)
    )
    before, after = (frame[..., 0].astype(int) - frame[..., 1] for frame in (first, second))
    assert (before > 100).sum() > (after > 100).sum()  # the red ball was nearer
    assert (after < -100).sum() > (before < -100).sum()  # now it is the green one


def test_frames_are_drawn_as_they_are_taken_and_never_by_more_than_two_threads(monkeypatch):
    drawn, threads = [], set()
    real = turntables.take_picture

    def counted(*args, **options):
        drawn.append(1)
        threads.add(threading.current_thread().name)
        return real(*args, **options)

    monkeypatch.setattr(turntables, "take_picture", counted)
    frames = render_turntable(card(), frames=60, size_px=16)
    assert drawn == []
    next(frames)
    next(frames)
    frames.close()
    assert 2 <= len(drawn) <= 2 + turntables.THREADS + turntables.AHEAD
    assert len(threads) <= 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"frames": 0}, InvalidParameters),
        ({"frames": 361}, InvalidParameters),
        ({"frames": 2.5}, InvalidParameters),
        ({"size_px": 9000}, InvalidParameters),
        ({"light": "candle"}, InvalidParameters),
        ({"renderer": "magic"}, InvalidParameters),
    ],
)
def test_what_cannot_be_turned_is_refused_before_the_first_frame_is_asked_for(options, error):
    with pytest.raises(error):
        render_turntable(card(), **options)


def test_a_broken_model_is_refused_before_the_first_frame_is_asked_for():
    with pytest.raises(BrokenModelOutput):
        render_turntable(card(texture=b"none"))


def test_the_small_plan_costs_less_than_half_of_the_standard_one():
    small, standard = PLANS["small"], PLANS["standard"]
    assert small.frames * small.size_px**2 < 0.5 * standard.frames * standard.size_px**2
