"""The body: as thick as a silhouette suggests, closed, without flaps and crumbs."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.generation.inflation.body import (
    cut_off_flaps,
    inflate_silhouette,
    is_closed,
    keep_solid_parts,
    solve_height,
)

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)


def disc(cells: int, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[0:cells, 0:cells]
    distance = np.hypot(rows - (cells - 1) / 2, columns - (cells - 1) / 2)
    return np.clip(radius - distance + 0.5, 0, 1).astype(np.float64)


def test_a_disc_becomes_about_a_ball():
    body = inflate_silhouette(disc(100, 36), target_faces=100_000)
    across = np.ptp(body.vertices, axis=0)
    assert across[0] == pytest.approx(72, abs=2.5)
    assert across[1] == pytest.approx(72, abs=2.5)
    assert across[2] == pytest.approx(72, rel=0.2)
    assert body.vertices[:, 2].max() == pytest.approx(-body.vertices[:, 2].min(), abs=1e-3)


def test_a_wider_strip_becomes_thicker():
    heights = []
    for width in (10, 20, 40):
        alpha = np.zeros((100, 100))
        alpha[10:90, 50 - width // 2 : 50 + width // 2] = 1
        heights.append(float(np.sqrt(solve_height(alpha).max())))
    assert heights == sorted(heights)
    assert heights[1] / heights[0] == pytest.approx(2, rel=0.25)


def test_simplifying_keeps_the_surface_closed_and_in_budget():
    body = inflate_silhouette(disc(100, 36), target_faces=4000)
    assert body.faces_before > 4000 >= len(body.faces)
    assert is_closed(body.faces)


@pytest.mark.parametrize(
    ("faces", "closed"),
    [
        pytest.param(TETRAHEDRON, True, id="a tetrahedron"),
        pytest.param(TETRAHEDRON[:3], False, id="one face is missing"),
        pytest.param(np.vstack([TETRAHEDRON[:3], TETRAHEDRON[3:, ::-1]]), False, id="one face is turned"),
        pytest.param(np.vstack([TETRAHEDRON, [[0, 1, 4], [0, 4, 1]]]).astype(np.int32), False, id="a flap"),
    ],
)
def test_closed_means_every_edge_once_in_each_direction(faces, closed):
    assert is_closed(faces) is closed


def test_flaps_are_cut_off():
    with_flap = np.vstack([TETRAHEDRON, [[0, 1, 4], [0, 4, 1]]]).astype(np.int32)
    assert np.array_equal(cut_off_flaps(with_flap), TETRAHEDRON)


def test_crumbs_are_dropped_and_parts_stay():
    points = np.random.default_rng(0).random((808, 3), np.float32)
    fan = np.array([[0, i, i + 1] for i in range(1, 400)], np.int32)
    crumb = np.array([[805, 806, 807]], np.int32)
    kept_points, kept = keep_solid_parts(points, np.vstack([fan, fan + 401, crumb]))
    assert len(kept) == 2 * len(fan)
    assert len(kept_points) == len(np.unique(kept))
