"""The native libraries are only called with arrays that fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry.collapsing import collapse_edges, collapse_freely, order_for_drawing
from pipeline3d_tests.awkward_meshes import sphere

BALL = sphere()
NONE = np.zeros((len(BALL.vertices), 0), np.float32)
NO_WEIGHTS = np.zeros(0, np.float32)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"faces": BALL.faces + 1}, "outside"),
        ({"faces": BALL.faces - 1}, "outside"),
        ({"faces": BALL.faces.astype(np.float32)}, "outside"),
        ({"faces": BALL.faces[:0]}, "faces of shape"),
        ({"faces": BALL.faces.reshape(-1)}, "faces of shape"),
        ({"vertices": BALL.vertices[:, :2]}, "not \\(n,3\\)"),
        ({"vertices": np.full_like(BALL.vertices, np.nan)}, "finite"),
        ({"attributes": np.zeros((len(BALL.vertices), 2), np.float32)}, "do not fit"),
        ({"attributes": np.zeros((3, 0), np.float32)}, "do not fit"),
        ({"weights": np.ones(3, np.float32)}, "do not fit"),
        ({"locked": np.zeros(3, bool)}, "locks"),
        (
            {
                "attributes": np.full((len(BALL.vertices), 1), np.inf, np.float32),
                "weights": np.ones(1, np.float32),
            },
            "finite",
        ),
        (
            {
                "attributes": np.zeros((len(BALL.vertices), 33), np.float32),
                "weights": np.ones(33, np.float32),
            },
            "do not fit",
        ),
    ],
)
def test_arrays_that_do_not_fit_never_reach_the_library(changes: dict[str, object], reason: str) -> None:
    wish = {"vertices": BALL.vertices, "faces": BALL.faces, "attributes": NONE, "weights": NO_WEIGHTS}
    with pytest.raises(ValueError, match=reason):
        collapse_edges(**(wish | changes), target_faces=50)  # type: ignore[arg-type]


def test_other_types_and_strides_are_taken() -> None:
    wide = np.zeros((len(BALL.vertices), 6), np.float64)
    wide[:, ::2] = BALL.vertices
    faces, error = collapse_edges(
        wide[:, ::2], np.asfortranarray(BALL.faces.astype(np.int64)), NONE, NO_WEIGHTS, target_faces=100
    )
    same, _ = collapse_edges(BALL.vertices, BALL.faces, NONE, NO_WEIGHTS, target_faces=100)
    assert np.array_equal(faces, same)
    assert 50 < len(faces) <= 100
    assert 0 < error < 0.1


def test_locked_vertices_stay() -> None:
    locked = np.arange(len(BALL.vertices)) % 3 == 0
    faces, _ = collapse_edges(BALL.vertices, BALL.faces, NONE, NO_WEIGHTS, target_faces=20, locked=locked)
    assert np.isin(np.flatnonzero(locked), faces).all()


def test_the_second_library_gets_near_its_target() -> None:
    points, faces = collapse_freely(BALL.vertices, BALL.faces, target_faces=100)
    assert len(faces) <= 104
    assert faces.max() < len(points)
    with pytest.raises(ValueError, match="outside"):
        collapse_freely(BALL.vertices, BALL.faces + 1, target_faces=100)


@settings(max_examples=20, deadline=None)
@given(
    vertex_count=st.integers(3, 40),
    corners=st.lists(st.integers(0, 39), min_size=0, max_size=60),
)
def test_the_order_for_drawing_only_renumbers(vertex_count: int, corners: list[int]) -> None:
    usable = np.array([corner % vertex_count for corner in corners[: len(corners) // 3 * 3]], np.int64)
    faces = usable.reshape(-1, 3)
    source, ordered = order_for_drawing(faces, vertex_count)
    assert sorted(source) == sorted(set(usable))

    def turns(rows: np.ndarray) -> list[tuple[int, ...]]:
        return sorted(min(tuple(np.roll(row, step)) for step in range(3)) for row in rows)

    if len(faces):
        assert turns(source[ordered]) == turns(faces)
