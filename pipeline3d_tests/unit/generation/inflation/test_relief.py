"""Relief moves the front a little and nothing else."""

from __future__ import annotations

import numpy as np

from pipeline3d.generation.inflation.body import inflate_silhouette
from pipeline3d.generation.inflation.relief import RELIEF_SHARE, add_relief


def body_and_stripes():
    alpha = np.zeros((80, 80))
    alpha[15:65, 15:65] = 1
    stripes = np.tile(np.where(np.arange(80) // 4 % 2, 40.0, 220.0)[None], (80, 1))
    return inflate_silhouette(alpha, target_faces=100_000), stripes


def test_only_the_front_moves_and_only_along_z():
    body, stripes = body_and_stripes()
    moved = add_relief(body, stripes)
    behind = body.vertices[:, 2] <= 0
    assert np.array_equal(moved[:, :2], body.vertices[:, :2])
    assert np.array_equal(moved[behind], body.vertices[behind])
    assert 0.3 < np.abs(moved - body.vertices).max() / (RELIEF_SHARE * 80) <= 1.001


def test_a_plain_picture_moves_nothing():
    body, _ = body_and_stripes()
    assert np.abs(add_relief(body, np.full((80, 80), 90.0)) - body.vertices).max() < 0.02
