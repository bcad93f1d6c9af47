"""The texture: colours reach beyond the silhouette and the halves lie side by side."""

from __future__ import annotations

import numpy as np

from pipeline3d.generation.inflation.atlas import encode_jpeg, paint_atlas, push_colours_outwards


def test_colours_are_pushed_outwards_and_kept_inside():
    colour = np.zeros((65, 65, 3), np.float32)
    weight = np.zeros((65, 65), np.float32)
    colour[20:40, 20:40] = (10, 200, 30)
    weight[20:40, 20:40] = 1
    filled = push_colours_outwards(colour, weight)
    assert np.allclose(filled[20:40, 20:40], (10, 200, 30))
    assert np.allclose(filled, (10, 200, 30), atol=1)


def test_a_sliver_without_a_core_still_gets_its_colour():
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[30, 5:60] = (250, 10, 10, 190)
    atlas = paint_atlas(rgba, 64)
    assert atlas.shape == (64, 128, 3)
    assert (atlas[30, 10:50, 0].astype(int) - atlas[30, 10:50, 1] > 100).all()


def test_the_same_atlas_gives_the_same_jpeg():
    atlas = paint_atlas(np.full((40, 40, 4), 200, np.uint8), 80)
    assert encode_jpeg(atlas) == encode_jpeg(atlas)
    assert encode_jpeg(atlas).startswith(b"\xff\xd8\xff")
