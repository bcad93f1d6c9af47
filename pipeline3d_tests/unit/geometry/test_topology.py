"""Points, edges and fans as they are found by sorting agree with what is counted one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry import topology
from pipeline3d.geometry.topology import count_edge_uses, count_pinched_points, face_keys, find_mates, weld
from pipeline3d_tests.awkward_meshes import USABLE, build


def random_faces(seed: int, points: int = 12) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.array(
        [random.choice(points, 3, replace=False) for _ in range(random.integers(1, 40))], np.int32
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_welding_groups_equal_positions_and_numbers_them_as_they_appear(seed):
    random = np.random.default_rng(seed)
    positions = random.integers(-2, 3, (random.integers(1, 60), 3)).astype(np.float32)
    points = weld(positions)
    assert points.count == len({tuple(place) for place in positions})
    assert (positions[points.first][points.labels] == positions).all()
    assert (np.diff(points.first) > 0).all()


def test_welding_survives_a_hash_that_mixes_nothing(monkeypatch):
    """Whatever rows the hash takes for equal, only equal ones are joined."""
    positions = np.random.default_rng(3).integers(0, 4, (200, 3)).astype(np.float32)
    wanted = weld(positions)
    monkeypatch.setattr(topology, "mix", lambda *columns: np.zeros(len(columns[0]), np.uint64))
    found = weld(positions)
    assert (found.labels == wanted.labels).all()
    assert found.count == wanted.count


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_edge_uses_are_those_counted_one_by_one(seed):
    faces = random_faces(seed)
    wanted: Counter[tuple[int, int]] = Counter()
    balance: Counter[tuple[int, int]] = Counter()
    for a, b, c in faces.tolist():
        for start, end in ((a, b), (b, c), (c, a)):
            wanted[min(start, end), max(start, end)] += 1
            balance[min(start, end), max(start, end)] += 1 if start < end else -1
    edges = count_edge_uses(faces, 12)
    low, high = edges.ends(np.ones(len(edges.keys), bool))
    assert (
        dict(zip(zip(low.tolist(), high.tolist(), strict=True), edges.uses.tolist(), strict=True)) == wanted
    )
    assert edges.balance.tolist() == [balance[edge] for edge in zip(low.tolist(), high.tolist(), strict=True)]


@pytest.mark.parametrize("count", [12, 1 << 22])
def test_faces_of_the_same_points_have_the_same_key(count):
    faces = np.array([[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 2, 4]], np.int32)
    keys = face_keys(faces, count)
    assert keys[0] == keys[1] == keys[2] != keys[3]


@pytest.mark.parametrize(
    "name", [n for n in USABLE if n not in ("fan", "boxes_at_an_edge", "doubled_faces", "slivers")]
)
def test_mates_are_each_others(name):
    surface = build(name).surface()
    points = weld(surface.vertices)
    mates = find_mates(points.labels[surface.faces], points.count)
    assert (mates[mates] == np.arange(len(mates))).all()


def test_a_fan_around_a_point_is_one_however_many_faces_it_has():
    count = 1000
    around = np.arange(1, count + 1, dtype=np.int32)
    closed = np.stack([np.zeros(count, np.int32), around, np.roll(around, -1)], axis=1)
    assert count_pinched_points(closed, count + 1) == 0
    assert count_pinched_points(closed[:-1], count + 1) == 0
    assert count_pinched_points(np.delete(closed, [10, 500], axis=0), count + 1) == 1
