"""Thumbnails show the right side, in the right colours, with the nearer surface in front."""

from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh
from PIL import Image

from pipeline3d.errors import BrokenModelOutput, InvalidParameters
from pipeline3d.geometry.cameras import Camera
from pipeline3d.geometry.mesh import Material, Model, TexturedMesh
from pipeline3d.geometry.rendering import BACKGROUND, render, render_thumbnail
from pipeline3d.geometry.staging import TRANSPARENT, Background, Light
from pipeline3d_tests import painted_models


def ball(colour: tuple[int, int, int], centre=(0.0, 0.0, 0.0), radius=0.5) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    mesh.apply_translation(centre)
    mesh.visual.vertex_colors = [*colour, 255]
    return mesh


def taken(mesh: trimesh.Trimesh) -> TexturedMesh:
    return TexturedMesh(
        vertices=np.asarray(mesh.vertices, np.float32),
        faces=np.asarray(mesh.faces, np.int32),
        normals=np.asarray(mesh.vertex_normals, np.float32),
        colours=np.asarray(mesh.visual.vertex_colors, np.uint8),
    )


RED, GREEN = (200, 10, 10), (10, 200, 10)


def dominant(pixel: np.ndarray) -> str:
    return (
        "red"
        if int(pixel[0]) > int(pixel[1]) + 20
        else "green"
        if int(pixel[1]) > int(pixel[0]) + 20
        else "grey"
    )


@pytest.mark.parametrize(
    ("azimuth", "seen"),
    [(0, "red"), (180, "green")],  # the red ball is nearer to +Z, which azimuth 0 looks at
)
def test_the_nearer_surface_hides_the_farther_one(azimuth, seen):
    mesh = taken(ball(RED, (0, 0, 1)) + ball(GREEN, (0, 0, -1)))
    picture = render_thumbnail(mesh, size_px=96, azimuth_deg=azimuth, elevation_deg=0)
    assert dominant(picture[48, 48]) == seen


def test_large_crossing_triangles_are_cut_where_they_cross():
    """Painting far to near alone would show only one of them."""
    vertices = np.array(
        [[-1, -1, -1], [1, -1, 1], [0, 1, 0], [-1, -1, 1], [1, -1, -1], [0, 1, 0]], np.float32
    )
    colours = np.array([[*RED, 255]] * 3 + [[*GREEN, 255]] * 3, np.uint8)
    faces = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    mesh = TexturedMesh(vertices=vertices, faces=faces, colours=colours)
    picture = render_thumbnail(mesh, size_px=128, azimuth_deg=0, elevation_deg=0)
    assert dominant(picture[90, 40]) != dominant(picture[90, 88])
    assert {dominant(picture[90, 40]), dominant(picture[90, 88])} == {"red", "green"}


def test_the_right_side_of_the_object_is_on_the_right_of_the_picture():
    mesh = taken(ball(RED, (0.7, 0, 0)) + ball(GREEN, (-0.7, 0, 0)))
    picture = render_thumbnail(mesh, size_px=96, azimuth_deg=0, elevation_deg=0)
    assert dominant(picture[48, 72]) == "red"
    assert dominant(picture[48, 24]) == "green"


def test_a_texture_is_seen_the_right_way_up():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32], pixels[32:] = RED, GREEN
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    mesh = TexturedMesh(
        vertices=np.array([[-1, 0, 0], [1, 0, 0], [1, 2, 0], [-1, 2, 0]], np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uvs=np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32),  # (0,0) is the upper left corner
        texture=buffer.getvalue(),
        texture_mime_type="image/png",
    )
    picture = render_thumbnail(mesh, size_px=96, azimuth_deg=0, elevation_deg=0)
    assert dominant(picture[36, 48]) == "red"
    assert dominant(picture[60, 48]) == "green"


def test_the_object_fills_the_picture_and_stays_inside():
    picture = render_thumbnail(taken(ball(RED)), size_px=128, elevation_deg=0)
    coloured = picture[..., 0].astype(int) - picture[..., 1] > 40
    rows, columns = np.nonzero(coloured)
    assert rows.min() > 0
    assert columns.max() < 127
    assert np.ptp(rows) > 0.85 * 128


def test_the_outline_is_smooth_and_the_corners_are_background():
    picture = render_thumbnail(taken(ball(RED)), size_px=128)
    assert tuple(picture[0, 0]) == BACKGROUND
    in_between = (picture[..., 1] > 60) & (picture[..., 1] < 200)
    assert in_between.sum() > 50


def test_there_is_a_shadow_under_the_object():
    picture = render_thumbnail(taken(ball(RED)), size_px=128, elevation_deg=20).astype(int)
    grey = np.ptp(picture, axis=2) < 12
    assert picture[90:][grey[90:]].min() < BACKGROUND[0] - 15


def test_the_same_mesh_gives_the_same_pixels():
    assert np.array_equal(
        render_thumbnail(taken(ball(RED)), size_px=64), render_thumbnail(taken(ball(RED)), size_px=64)
    )


def test_a_texture_that_is_no_picture_is_broken_model_output():
    mesh = taken(ball(RED))
    broken = TexturedMesh(
        vertices=mesh.vertices,
        faces=mesh.faces,
        uvs=np.zeros((len(mesh.vertices), 2), np.float32),
        texture=b"not a picture",
    )
    with pytest.raises(BrokenModelOutput):
        render_thumbnail(broken, size_px=32)


FRONT = Camera(azimuth_deg=0, elevation_deg=0)
EVEN = Light(key=0, fill=0, ambient=1 / 0.85, shadow=0, mirrored=0)


def seen_through(*parts: TexturedMesh, background=TRANSPARENT) -> np.ndarray:
    picture = render(Model(parts=parts), size_px=33, camera=FRONT, light=EVEN, background=background)
    return picture[16, 16].astype(int)


def glass(colour, alpha, z, **more) -> TexturedMesh:
    material = Material(base_colour=(*colour, alpha), alpha_mode="BLEND", **more)
    return painted_models.card(material, z=z)


def test_layers_of_glass_mix_in_linear_light_whatever_their_order():
    red, green = glass((0.7, 0, 0), 0.5, 0.1), glass((0, 0.7, 0), 0.5, -0.1)
    near_red, also_red = seen_through(red, green), seen_through(green, red)
    assert near_red == pytest.approx(also_red)
    # Half of red, a quarter of green, over what is three quarters covered.
    assert near_red[3] == pytest.approx(191, abs=1)
    linear = np.array([0.7 * 0.5, 0.7 * 0.25, 0]) / 0.75
    expected = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, linear * 12.92) * 255
    assert near_red[:3] == pytest.approx(expected, abs=2)


def test_glass_behind_something_solid_is_not_seen_and_in_front_of_it_is():
    wall = painted_models.card(Material(base_colour=(0, 0, 0.6, 1)))
    assert seen_through(wall, glass((1, 0, 0), 0.5, -0.3))[0] == 0
    mixed = seen_through(wall, glass((0.7, 0, 0), 0.5, 0.3))
    assert mixed[0] > 100
    assert mixed[2] > 100
    assert mixed[3] == 255


def test_a_mask_cuts_holes_through_which_one_sees_on():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 0], pixels[:, :32, 3] = 255, 255
    leaf = painted_models.card(
        Material(alpha_mode="MASK"), z=0.2, texture=painted_models.png(pixels), texture_mime_type="image/png"
    )
    wall = painted_models.card(Material(base_colour=(0, 0.6, 0, 1)))
    picture = render(Model(parts=(leaf, wall)), size_px=64, camera=FRONT, light=EVEN)
    assert dominant(picture[32, 24]) == "red"
    assert dominant(picture[32, 40]) == "green"


def test_backs_are_shown_only_of_materials_with_two_sides():
    for both in (True, False):
        turned = painted_models.card(Material(double_sided=both), turned=True)
        assert seen_through(turned)[3] == (255 if both else 0)


def test_an_opaque_picture_and_a_transparent_one_laid_on_its_colour_are_the_same():
    """Where the model covers nothing or everything; edges mix in linear light, pages in sRGB."""
    mesh = painted_models.ball()
    solid = render(mesh, size_px=64, background=Background(upper=(10, 20, 30)))
    clear = render(mesh, size_px=64, background=TRANSPARENT)
    inside = clear[..., 3] == 255
    assert inside.sum() > 1000
    assert np.array_equal(solid[inside], clear[inside])
    outside = clear[..., 3] == 0
    assert (solid[outside] == (10, 20, 30, 255)).all()


def test_a_gradient_is_behind_the_model():
    picture = render(
        painted_models.ball(), size_px=64, background=Background(upper=(255, 255, 255), lower=(0, 0, 0))
    )
    assert picture[0, 0, 0] > 250
    assert picture[63, 0, 0] < 5


@pytest.mark.parametrize("elevation", [90, -90, 0])
def test_a_model_can_be_looked_at_from_straight_above_and_below(elevation):
    picture = render(
        painted_models.ball(), size_px=32, camera=Camera(elevation_deg=elevation), background=TRANSPARENT
    )
    assert picture[16, 16, 3] == 255


@pytest.mark.parametrize(
    "options",
    [
        {"size_px": 8},
        {"size_px": 4096},
        {"size_px": 64.0},
        {"size_px": True},
        {"light": "candle"},
        {"renderer": "magic"},
    ],
)
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(InvalidParameters):
        render(painted_models.ball(), **options)


def test_outlines_do_not_darken_or_brighten_on_a_background_of_the_models_colour():
    """Averaging in sRGB, or colours not multiplied by coverage, leaves a seam around the model."""
    mesh = painted_models.card(Material(base_colour=(0.5, 0.5, 0.5, 1)), side=0.37)
    grey = 188
    picture = render(mesh, size_px=65, camera=FRONT, light=EVEN, background=Background(upper=(grey,) * 3))
    assert np.abs(picture[..., :3].astype(int) - grey).max() <= 1
