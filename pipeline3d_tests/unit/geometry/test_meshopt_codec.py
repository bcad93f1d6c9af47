"""meshopt streams: what goes in comes out, and no lie about lengths reaches the native decoder."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.meshopt_codec import (
    decode_view,
    encode_octahedral,
    encode_rows,
    encode_triangles,
    order_for_drawing,
    weld,
)
from pipeline3d.geometry.quantising import NORMAL_ERROR_DEG

TRIANGLES = np.array([0, 1, 2, 2, 1, 3], np.uint32)


def rows_of(count: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 5000, (count, width)).astype(np.uint16)


def turned(triangles: np.ndarray) -> list[tuple[int, ...]]:
    """Each triangle with its smallest corner first: the codec may rotate them."""
    found = triangles.reshape(-1, 3).tolist()
    return [tuple(t[t.index(min(t)) :] + t[: t.index(min(t))]) for t in found]


@pytest.mark.parametrize("count", [1, 15, 16, 17, 255, 257, 5000])
def test_rows_survive_the_round_trip(count):
    rows = rows_of(count)
    coding = {"mode": "ATTRIBUTES", "count": count, "byteStride": 8}
    assert decode_view(coding, encode_rows(rows)) == rows.tobytes()


def test_rows_are_encoded_as_the_version_that_the_extension_has():
    assert encode_rows(rows_of(3))[0] == 0xA0
    assert encode_triangles(TRIANGLES, 4)[0] == 0xE1


@pytest.mark.parametrize(("stride", "dtype"), [(2, np.uint16), (4, np.uint32)])
def test_triangles_survive_the_round_trip_but_for_their_first_corner(stride, dtype):
    coding = {"mode": "TRIANGLES", "count": 6, "byteStride": stride}
    decoded = decode_view(coding, encode_triangles(TRIANGLES, 4))
    assert turned(np.frombuffer(decoded, dtype)) == turned(TRIANGLES)


@pytest.mark.parametrize("bits", NORMAL_ERROR_DEG)
def test_directions_turn_no_further_than_stated(bits):
    directions = np.random.default_rng(1).normal(size=(20_000, 3))
    directions = np.concatenate([directions, np.eye(3), -np.eye(3), [[1, 1, 0], [-1, 1, -1]]])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = encode_octahedral(directions, bits)
    coding = {
        "mode": "ATTRIBUTES",
        "count": len(rows),
        "byteStride": 4 * rows.itemsize,
        "filter": "OCTAHEDRAL",
    }
    found = np.frombuffer(decode_view(coding, encode_rows(rows)), rows.dtype).reshape(-1, 4)[:, :3]
    found = found / np.linalg.norm(found.astype(float), axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip((found * directions).sum(axis=1), -1, 1)))
    assert angles.max() <= NORMAL_ERROR_DEG[bits]
    assert angles.max() > NORMAL_ERROR_DEG[bits] / 3, "the stated bound is far from what happens"


def test_the_exponential_filter_gives_mantissa_times_power_of_two():
    mantissas, exponents = np.array([3, -5, 0, 1 << 20]), np.array([-1, 2, 0, -20])
    words = ((exponents & 0xFF) << 24 | (mantissas & 0xFFFFFF)).astype(np.uint32).reshape(-1, 1)
    coding = {"mode": "ATTRIBUTES", "count": 4, "byteStride": 4, "filter": "EXPONENTIAL"}
    found = np.frombuffer(decode_view(coding, encode_rows(words)), np.float32)
    assert found.tolist() == [1.5, -20.0, 0.0, 1.0]


def test_welding_makes_equal_rows_one_vertex_and_keeps_every_corner():
    rows = np.array([[1, 2], [3, 4], [5, 6], [5, 6], [3, 4], [7, 8]], np.uint16)
    indices = np.array([0, 1, 2, 3, 4, 5], np.uint32)
    welded, kept = weld(rows, indices)
    assert len(kept) == 4
    assert np.array_equal(rows[kept][welded], rows[indices])


def test_drawing_order_keeps_the_triangles_and_drops_vertices_that_none_uses():
    positions = np.random.default_rng(2).random((50, 3)).astype(np.float32)
    indices = np.random.default_rng(2).integers(0, 40, 90).astype(np.uint32)
    ordered, order = order_for_drawing(indices, positions)
    assert sorted(turned(order[ordered])) == sorted(turned(indices))
    assert set(order.tolist()) == set(indices.tolist())
    assert ordered.max() == len(order) - 1
    _, first = np.unique(ordered, return_index=True)
    assert (np.diff(first) > 0).all(), "vertices are not in the order of their use"


GOOD = {"mode": "ATTRIBUTES", "count": 20, "byteStride": 8}
HOSTILE = {
    "a longer count": {"count": 4000},
    "a count below 0": {"count": -1},
    "a count that is no number": {"count": "20"},
    "no stride": {"byteStride": None},
    "a stride of 0": {"byteStride": 0},
    "a stride that is no multiple of four": {"byteStride": 6},
    "a wider stride than the format has": {"byteStride": 260},
    "another stride": {"byteStride": 16},
    "an unknown mode": {"mode": "POINTS"},
    "an unknown filter": {"filter": "GAUSSIAN"},
    "a filter for other rows": {"filter": "OCTAHEDRAL", "byteStride": 12},
    "vertices told as triangles": {"mode": "TRIANGLES", "byteStride": 4, "count": 21},
    "triangles that are not whole": {"mode": "TRIANGLES", "byteStride": 4},
    "indices of three bytes": {"mode": "INDICES", "byteStride": 3},
    "filtered indices": {"mode": "INDICES", "byteStride": 4, "filter": "EXPONENTIAL"},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_view_that_lies_is_refused(change):
    with pytest.raises(UnusableInput) as refusal:
        decode_view(GOOD | change, encode_rows(rows_of(20)))
    assert refusal.value.code == "broken_model_file"


@given(
    data=st.binary(max_size=200), cut=st.integers(0, 60), mode=st.sampled_from(["ATTRIBUTES", "TRIANGLES"])
)
@settings(max_examples=60, deadline=None)
def test_damaged_streams_are_refused_or_decode_to_the_stated_length(data, cut, mode):
    whole = encode_rows(rows_of(30)) if mode == "ATTRIBUTES" else encode_triangles(TRIANGLES, 4)
    coding = {"mode": mode, "count": 30, "byteStride": 8 if mode == "ATTRIBUTES" else 4}
    for stream in (whole[:cut] + data, whole[: len(whole) - cut], data):
        with contextlib.suppress(UnusableInput):
            assert len(decode_view(coding, stream)) == coding["count"] * coding["byteStride"]
