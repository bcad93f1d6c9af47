"""Damage is found, and only damage."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.geometry.collapse_checks import (
    Original,
    count_bad_edges,
    edges_of,
    find_damage,
    find_fork_rings,
    find_solid_faces,
    measure_extents,
)
from pipeline3d_tests.awkward_meshes import sphere

BALL = sphere()
FACES = BALL.faces.astype(np.int64)
ORIGINAL = Original(points=BALL.vertices, faces=FACES)


def test_the_surface_itself_is_no_damage() -> None:
    assert find_damage(ORIGINAL, BALL.vertices, FACES) == ""
    assert ORIGINAL.bad_edges == (0, 0)


@pytest.mark.parametrize(
    ("faces", "points", "reason"),
    [
        (FACES[:0], BALL.vertices, "no face"),
        (FACES[1:], BALL.vertices, "3 open edges"),
        (np.concatenate([FACES, FACES[:1]]), BALL.vertices, "more than two"),
        (FACES[:, ::-1], BALL.vertices, "turned over"),
        (FACES, BALL.vertices * np.float32([1, 0.5, 1]), "size is lost"),
        (FACES, BALL.vertices * np.float32(np.nan), "not valid"),
        (FACES + 1, BALL.vertices, "not valid"),
    ],
)
def test_damage_is_named(faces: np.ndarray, points: np.ndarray, reason: str) -> None:
    assert reason in find_damage(ORIGINAL, points, faces)


def test_what_the_source_already_was_is_no_new_damage() -> None:
    torn = Original(points=BALL.vertices, faces=FACES[5:])
    assert find_damage(torn, BALL.vertices, FACES[5:]) == ""
    inside_out = Original(points=BALL.vertices, faces=FACES[:, ::-1])
    assert find_damage(inside_out, BALL.vertices, FACES[:, ::-1]) == ""


def test_wrong_normals_neither_hide_nor_make_turned_faces() -> None:
    for normals in (BALL.vertices, -BALL.vertices, np.zeros_like(BALL.vertices)):
        original = Original(points=BALL.vertices, faces=FACES, normals=normals)
        assert find_damage(original, BALL.vertices, FACES) == ""
        assert "turned over" in find_damage(original, BALL.vertices, FACES[:, ::-1])


def test_flaps_go_and_what_is_left_stays_closed() -> None:
    first, second, third = FACES[0]
    flap = [[first, second, third], [third, second, first]]
    line = [[first, first, second]]
    for extra, kept in ((flap, 0), (line, 0), (flap[:1], 1), (flap + flap, 0)):
        faces = np.concatenate([FACES, np.array(extra)])
        solid = find_solid_faces(faces, len(BALL.vertices))
        assert solid.sum() == len(FACES) + kept
        if not kept:
            assert count_bad_edges(faces[solid], len(BALL.vertices)) == (0, 0)


def test_the_fan_at_one_end_of_a_fork_is_to_be_locked() -> None:
    assert not find_fork_rings(ORIGINAL, edges_of(FACES, len(BALL.vertices))).any()
    forked = np.concatenate([FACES, FACES[:1]])
    ring = find_fork_rings(ORIGINAL, edges_of(forked, len(BALL.vertices)))
    assert ring[FACES[0]].any()
    assert ring.sum() < len(BALL.vertices) / 3


def test_extents_are_those_of_points_that_faces_use() -> None:
    points = np.concatenate([BALL.vertices, [[9, 9, 9]]])
    assert measure_extents(points, FACES) == pytest.approx(np.ptp(BALL.vertices, axis=0))
