"""Every map of a material changes what it is there to change."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.geometry.cameras import Camera
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.mesh import Material, Texture
from pipeline3d.geometry.rendering import render
from pipeline3d.geometry.shading import environment_weights, lobe
from pipeline3d.geometry.staging import LIGHTS, TRANSPARENT, Light
from pipeline3d_tests.painted_models import ball, card, flat_png, map_of, png

FRONT = Camera(azimuth_deg=0, elevation_deg=0)
EVEN = Light(key=0, fill=0, ambient=1 / 0.85, shadow=0, mirrored=0)
"""A surface that faces the camera shows its base colour exactly."""


def middle(mesh, light=EVEN) -> np.ndarray:
    return render(mesh, size_px=33, camera=FRONT, light=light, background=TRANSPARENT)[16, 16]


def test_base_colours_come_out_as_they_went_in():
    """Linear factors, sRGB pictures and linear vertex colours; a second gamma would show at once."""
    level = 150
    linear = float(to_linear(np.array(level / 255)))
    grey = np.full((4, 4), [round(linear * 255)] * 3 + [255], np.uint8)
    for mesh in (
        card(Material(base_colour=(linear, linear, linear, 1))),
        card(texture=flat_png(level, level, level)),
        card(colours=grey),
    ):
        assert middle(mesh)[:3] == pytest.approx([level] * 3, abs=1)


def test_factor_picture_and_vertex_colours_multiply():
    half = np.full((4, 4), [255, 0, 255, 255], np.uint8)
    material = Material(base_colour=(1, 1, 0, 1))
    assert middle(card(material, texture=flat_png(200, 200, 200), colours=half))[:3].tolist() == [200, 0, 0]


def test_a_mesh_without_any_colour_is_grey_and_not_white():
    assert middle(card())[0] == pytest.approx(203, abs=1)


def test_emission_shines_in_the_dark():
    dark = Light(key=0, fill=0, ambient=0, mirrored=0)
    material = Material(emissive_colour=(1, 1, 1), emissive=map_of(0, 180, 0))
    assert middle(card(material), dark)[:3].tolist() == [0, 180, 0]
    assert middle(card(Material(emissive_colour=(0.5, 0, 0))), dark)[0] == pytest.approx(188, abs=1)


def test_occlusion_darkens_by_its_strength():
    plain = Material(base_colour=(0.5, 0.5, 0.5, 1))
    hidden = Material(base_colour=(0.5, 0.5, 0.5, 1), occlusion=map_of(0, 255, 255))
    half = Material(base_colour=(0.5, 0.5, 0.5, 1), occlusion=map_of(0, 255, 255), occlusion_strength=0.5)
    levels = [int(middle(card(material))[0]) for material in (plain, half, hidden)]
    assert levels[0] > levels[1] > levels[2] == 0


@pytest.mark.parametrize(
    ("pixel", "brighter"),
    [((255, 128, 128), True), ((0, 128, 128), False)],  # bent towards +X, where the lamp is, or away from it
)
def test_a_normal_map_turns_the_surface(pixel, brighter):
    side = Light(key=0.6, key_direction=(1, 0, 0.2), key_wrap=0, fill=0, ambient=0.1, mirrored=0)
    flat = middle(card(Material(base_colour=(0.5, 0.5, 0.5, 1))), side)[0]
    bent = middle(card(Material(base_colour=(0.5, 0.5, 0.5, 1), normal=map_of(*pixel))), side)[0]
    assert (bent > flat) is np.bool_(brighter)


def test_green_in_a_normal_map_points_up():
    above = Light(key=0.6, key_direction=(0, 1, 0.2), key_wrap=0, fill=0, ambient=0.1, mirrored=0)
    up, down = (
        middle(card(Material(base_colour=(0.5, 0.5, 0.5, 1), normal=map_of(128, green, 128))), above)[0]
        for green in (255, 0)
    )
    assert up > down


def test_a_flat_normal_map_changes_nothing():
    mesh, light = ball(Material(base_colour=(0.5, 0.4, 0.3, 1))), LIGHTS["studio"]
    mapped = ball(Material(base_colour=(0.5, 0.4, 0.3, 1), normal=map_of(128, 128, 255)))
    plain, bent = (render(m, size_px=48, light=light).astype(int) for m in (mesh, mapped))
    assert np.abs(plain - bent).max() <= 3  # 128 is not quite the middle


def test_a_smooth_surface_has_a_small_highlight_and_a_matt_one_none():
    smooth, matt = (
        render(ball(Material(base_colour=(0.2, 0.02, 0.02, 1), roughness=roughness)), size_px=96)
        for roughness in (0.15, 0.85)
    )
    lit = (smooth[..., 1].astype(int) > 150) & (smooth[..., 0] > smooth[..., 2])
    assert smooth[20:70, 20:70, 1].max() > 150 > matt[20:70, 20:70, 1].max()
    assert lit[20:70, 20:70].mean() < 0.1


def test_metal_mirrors_in_its_own_colour_where_the_map_says_metal():
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 1] = 80
    pixels[:, :8, 2] = 255
    both = Texture(data=png(pixels), mime_type="image/png")
    material = Material(base_colour=(1.0, 0.5, 0.1, 1), metallic=1.0, roughness=1.0, metallic_roughness=both)
    no_lamps = Light(key=0, fill=0, ambient=0, shadow=0)
    picture = render(card(material), size_px=64, camera=FRONT, light=no_lamps)
    metal, plastic = picture[32, 22, :3].astype(int), picture[32, 42, :3].astype(int)
    assert metal[0] > metal[1] > metal[2]
    assert np.ptp(plastic) < 4  # a dielectric mirrors without colour
    assert plastic.max() < metal[0]


def test_the_back_of_a_two_sided_surface_is_lit_as_its_front_is():
    front = middle(card(Material(double_sided=True)), LIGHTS["studio"])
    behind = render(
        card(Material(double_sided=True)),
        size_px=33,
        camera=Camera(azimuth_deg=180, elevation_deg=0),
        background=TRANSPARENT,
    )[16, 16]
    assert front.astype(int) == pytest.approx(behind.astype(int), abs=2)


def test_reflections_are_never_more_than_the_light_that_arrives():
    roughness, facing = (a.ravel() for a in np.meshgrid(np.linspace(0.09, 1, 20), np.linspace(0.01, 1, 20)))
    scale, bias = environment_weights(roughness.astype(np.float32), facing.astype(np.float32))
    assert (scale + bias).max() <= 1.01
    assert scale.min() >= 0


def test_a_highlight_is_brightest_in_the_mirrored_direction():
    angles = np.radians(np.linspace(-60, 60, 121))
    normals = np.stack([np.sin(angles), np.zeros(121), np.cos(angles)], 1).astype(np.float32)
    to_eye = np.tile(np.array([[0, 0, 1]], np.float32), (121, 1))
    towards = np.array([np.sin(np.radians(40)), 0, np.cos(np.radians(40))], np.float32)
    brightness = lobe(normals, to_eye, towards, np.full(121, 0.2, np.float32))
    assert np.degrees(angles[brightness.argmax()]) == pytest.approx(20, abs=2)
