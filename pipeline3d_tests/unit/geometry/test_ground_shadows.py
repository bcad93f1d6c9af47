"""The ground is dark where something stands on it, and lighter under what hangs above."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline3d.geometry.cameras import Camera, place_camera
from pipeline3d.geometry.ground_shadows import CELLS, REACH, cast_shadow
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.scenes import prepare_scene
from pipeline3d_tests.painted_models import ball

LEG_AT = 0.55


def cell(x: float, z: float) -> tuple[int, int]:
    return round((z / REACH + 1) / 2 * CELLS), round((x / REACH + 1) / 2 * CELLS)


def stool() -> Model:
    """Four thin legs under a flat top; its bounding sphere is nearly the unit sphere."""
    top = replace(ball(), vertices=ball().vertices * np.array([0.8, 0.04, 0.8], np.float32) + [0, 0.5, 0])
    legs = [
        replace(ball(), vertices=ball().vertices * np.array([0.06, 0.5, 0.06], np.float32) + [x, 0, z])
        for x in (-LEG_AT, LEG_AT)
        for z in (-LEG_AT, LEG_AT)
    ]
    return Model(parts=(top, *legs))


def test_each_leg_has_a_shadow_of_its_own_and_the_top_a_lighter_one():
    darkness = cast_shadow(prepare_scene(stool())).darkness
    leg, between, outside = (darkness[cell(x, z)] for x, z in ((0.59, 0.59), (0, 0), (1.2, 0)))
    assert leg > between + 0.05
    assert between > outside + 0.1
    assert 0 <= darkness.min() <= darkness.max() <= 1


def test_shadows_are_not_mirrored():
    left = replace(
        ball(radius=0.2), vertices=ball(radius=0.2).vertices + np.array([-0.6, 0, 0.3], np.float32)
    )
    high = replace(
        ball(radius=0.2), vertices=ball(radius=0.2).vertices + np.array([0.6, 0.8, -0.3], np.float32)
    )
    shadow = cast_shadow(prepare_scene(Model(parts=(left, high))))
    row, column = np.unravel_index(shadow.darkness.argmax(), shadow.darkness.shape)
    assert column < CELLS / 2  # x below 0
    assert row > CELLS / 2  # z above 0
    seen = shadow.seen_from(place_camera(Camera(azimuth_deg=0, elevation_deg=50), 200), 100)
    y, x = np.unravel_index(seen.argmax(), seen.shape)
    assert x < 50  # the left of the picture
    assert seen.shape == (100, 100)


def test_nobody_sees_the_shadow_from_under_the_ground():
    shadow = cast_shadow(prepare_scene(ball()))
    assert shadow.seen_from(place_camera(Camera(elevation_deg=-60), 64), 32).max() == 0


def test_there_is_no_shadow_at_the_edges_of_a_picture():
    seen = cast_shadow(prepare_scene(stool())).seen_from(place_camera(Camera(elevation_deg=40), 256), 128)
    edges = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    assert edges.max() < 0.01
