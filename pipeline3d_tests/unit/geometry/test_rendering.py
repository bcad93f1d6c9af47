"""Thumbnails show the right side, in the right colours, with the nearer surface in front."""

from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh
from PIL import Image

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.rendering import BACKGROUND, render_thumbnail


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
