"""STL and PLY: corners are joined, colours become linear, headers that lie are refused before they cost."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.import_limits import LIMITS
from pipeline3d.geometry.import_meshes import read_ply, read_stl, weld
from pipeline3d.geometry.mesh import TexturedMesh

SQUARE = [[(0, 0, 0), (1, 0, 0), (1, 1, 0)], [(0, 0, 0), (1, 1, 0), (0, 1, 0)]]


def stl(triangles: list, claimed: int | None = None) -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 1, *np.ravel(corners).tolist(), 0) for corners in triangles)
    return b"\0" * 80 + struct.pack("<I", len(triangles) if claimed is None else claimed) + body


def ply(head: str, body: bytes) -> bytes:
    return f"ply\nformat binary_little_endian 1.0\n{head}\nend_header\n".encode() + body


PLY_HEAD = """element vertex {vertices}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face {faces}
property list uchar int vertex_indices"""
PLY_BODY = b"".join(
    struct.pack("<3f3B", *corner, 255, 188, 0) for corner in ((0, 0, 0), (1, 0, 0), (0, 1, 0))
) + struct.pack("<B3i", 3, 0, 1, 2)


def test_equal_corners_of_an_stl_become_one_vertex():
    model = read_stl(stl(SQUARE), LIMITS, [])
    assert (model.vertex_count, model.face_count) == (4, 2)


def test_zero_and_minus_zero_are_one_place():
    corners = np.array([(0.0, 0, 0), (1, 0, 0), (0, 1, 0), (-0.0, 0, 0), (0, 1, 0), (-1, 0, 0)], np.float32)
    joined = weld(TexturedMesh(vertices=corners, faces=np.arange(6, dtype=np.int32).reshape(2, 3)))
    assert len(joined.vertices) == 4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=3, max_size=30))
def test_welding_moves_no_corner(points):
    vertices = np.array(points[: len(points) // 3 * 3], np.float32)
    part = TexturedMesh(vertices=vertices, faces=np.arange(len(vertices), dtype=np.int32).reshape(-1, 3))
    joined = weld(part)
    assert np.array_equal(joined.vertices[joined.faces], vertices[part.faces])
    assert len(joined.vertices) == len({tuple(row) for row in vertices.tolist()})


@pytest.mark.parametrize("claimed", [0, 1, 3, 2**32 - 1])
def test_an_stl_with_another_count_than_it_says_is_refused(claimed):
    with pytest.raises(UnusableInput) as caught:
        read_stl(stl(SQUARE, claimed), LIMITS, [])
    assert caught.value.code == "broken_model_file"


def test_colours_of_a_ply_are_made_linear():
    part = read_ply(ply(PLY_HEAD.format(vertices=3, faces=1), PLY_BODY), LIMITS, []).parts[0]
    assert part.colours is not None
    assert np.abs(part.colours[0].astype(int) - (255, 128, 0, 255)).max() <= 1


@pytest.mark.parametrize(
    ("head", "body", "code"),
    [
        (PLY_HEAD.format(vertices=2**32, faces=1), PLY_BODY, "model_too_large"),
        (PLY_HEAD.format(vertices=3, faces=2**40), PLY_BODY, "model_too_large"),
        (PLY_HEAD.format(vertices=1_000_000, faces=1), PLY_BODY, "broken_model_file"),
        (PLY_HEAD.format(vertices=-3, faces=1), PLY_BODY, "broken_model_file"),
        (PLY_HEAD.format(vertices=3, faces=1).replace("float x", "quad x"), PLY_BODY, "broken_model_file"),
        (PLY_HEAD.format(vertices=3, faces="9" * 5000), PLY_BODY, "broken_model_file"),
        (PLY_HEAD.format(vertices=3, faces=1).replace("float x", ""), PLY_BODY, "broken_model_file"),
        (PLY_HEAD.format(vertices=3, faces=1).replace("uchar int", ""), PLY_BODY, "broken_model_file"),
        (PLY_HEAD.format(vertices=3, faces=1), PLY_BODY[:-2], "broken_model_file"),
        (PLY_HEAD.format(vertices=3, faces=1), PLY_BODY[:-4] + b"\xff" * 4, "broken_model_file"),
        (PLY_HEAD.format(vertices=3, faces=0), PLY_BODY, "empty_mesh"),
    ],
)
def test_a_ply_that_lies_is_refused(head, body, code):
    with pytest.raises(UnusableInput) as caught:
        read_ply(ply(head, body), LIMITS, [])
    assert caught.value.code in (code, "broken_model_file")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_ply_is_refused_or_read(place, value):
    data = bytearray(ply(PLY_HEAD.format(vertices=3, faces=1), PLY_BODY))
    data[place % len(data)] = value
    try:
        model = read_ply(bytes(data), LIMITS, [])
    except UnusableInput:
        return
    surface = model.surface()
    assert np.isfinite(surface.vertices).all()
    assert surface.faces.max() < len(surface.vertices)
