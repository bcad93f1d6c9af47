"""The picture that stands for vertex colours gives back those colours, at the vertices and between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry.formats.colour_cells import MOST_FACES, bake_cells, fits
from pipeline3d.geometry.formats.pictures import sample
from pipeline3d_tests.awkward_meshes import coloured_torus, plain, textured_sphere


def sampled(part, weights):
    """What a GPU shows at these barycentric weights of every face, linear (m,4)."""
    picture, uvs = bake_cells(part)
    places = np.einsum("c,mcd->md", np.asarray(weights), uvs).astype(np.float32)
    return sample(picture, places, "clamp")


@pytest.mark.parametrize(
    "weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1 / 3, 1 / 3, 1 / 3), (0.5, 0.5, 0), (0.1, 0.2, 0.7)]
)
def test_the_picture_interpolates_as_vertices_do(weights):
    ring = coloured_torus()
    expected = np.einsum("c,mcd->md", np.asarray(weights), ring.colours[ring.faces] / 255.0)
    assert np.abs(sampled(ring, weights) - expected).max() < 3 / 255


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_corners_have_their_colour_whatever_the_faces_are(count, seed):
    rng = np.random.default_rng(seed)
    part = replace(
        plain(rng.choice([0.0, 1.0, 1e-30, 1e30], (9, 3)), rng.integers(0, 9, (count, 3))),
        colours=rng.integers(0, 256, (9, 4)).astype(np.uint8),
    )
    for corner in range(3):
        expected = part.colours[part.faces[:, corner]] / 255.0
        assert np.abs(sampled(part, np.eye(3)[corner]) - expected).max() < 3 / 255


def test_every_face_has_a_cell_of_its_own_in_a_square_of_a_power_of_two():
    ring = coloured_torus()
    picture, uvs = bake_cells(ring)
    height, width, _ = picture.shape
    assert height == width == 64
    cells = np.floor(uvs.mean(axis=1) * width / 2).astype(int)
    assert len(np.unique(cells, axis=0)) == len(ring.faces)
    assert uvs.min() > 0
    assert uvs.max() < 1


def test_neighbours_on_the_surface_are_neighbours_in_the_picture():
    ball = textured_sphere(rows=40, columns=40)
    colours = np.concatenate([(ball.normals + 1) * 127, np.full((len(ball.vertices), 1), 255)], axis=1)
    picture, _ = bake_cells(replace(ball, colours=colours.astype(np.uint8), texture=None))
    texels = picture[:32, :32, :3].astype(float)
    # the mean over a patch of cells, as a mip level takes it, keeps the local colour
    patches = texels.reshape(4, 8, 4, 8, 3).std(axis=(1, 3)).mean()
    assert patches < picture[picture[..., 3] > 0][:, :3].astype(float).std(axis=0).mean() / 2


def test_without_colours_there_is_nothing_to_bake():
    with pytest.raises(ValueError, match="no vertex colours"):
        bake_cells(textured_sphere())


def test_more_faces_than_the_largest_picture_has_cells_do_not_fit():
    many = plain(np.zeros((1, 3)), np.zeros((MOST_FACES + 1, 3)))
    assert not fits(many)
    assert fits(replace(many, faces=many.faces[:-1]))
