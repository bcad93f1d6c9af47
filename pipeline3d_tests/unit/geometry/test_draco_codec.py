"""Draco streams: counts are known before the decoder runs, damage is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.draco_codec import decode_stream, encode_part, read_face_count
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.quantising import Precision, grid_of
from pipeline3d_tests.awkward_meshes import coloured_torus, textured_sphere

BALL = textured_sphere()
GRID = grid_of(Model(parts=(BALL,)), 14)
STREAM = encode_part(BALL, GRID, Precision())


def test_the_face_count_is_read_without_decoding():
    assert read_face_count(STREAM) == len(BALL.faces)


def test_positions_lie_on_the_models_grid():
    mesh = decode_stream(STREAM, most_faces=1000)
    positions = mesh.attributes[mesh.named()["POSITION"]].values
    for corner in positions[::7]:
        assert np.abs(BALL.vertices - corner).max(axis=1).min() <= GRID.error


def test_every_attribute_has_its_name_and_length():
    torus = coloured_torus()
    stream = encode_part(torus, grid_of(Model(parts=(torus,)), 14), Precision())
    mesh = decode_stream(stream, most_faces=10_000)
    assert set(mesh.named()) == {"POSITION", "COLOR_0"} | ({"NORMAL"} if torus.normals is not None else set())
    assert mesh.attributes[mesh.named()["COLOR_0"]].values.shape == (mesh.vertex_count, 4)
    bare = replace(BALL, normals=None, uvs=None)
    assert set(decode_stream(encode_part(bare, GRID, Precision()), most_faces=1000).named()) == {"POSITION"}


def test_more_faces_than_allowed_are_refused_before_decoding():
    with pytest.raises(UnusableInput) as refusal:
        decode_stream(STREAM, most_faces=10)
    assert refusal.value.code == "model_too_large"


BAD = {
    "nothing": b"",
    "no stream": b"solid ball" * 9,
    "a point cloud": STREAM[:7] + b"\0" + STREAM[8:],
    "an older version": STREAM[:6] + b"\1" + STREAM[7:],
    "metadata": STREAM[:10] + b"\x80" + STREAM[11:],
    "an endless number": STREAM[:12] + b"\xff" * 12,
    "only a header": STREAM[:14],
    "half": STREAM[: len(STREAM) // 2],
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_no_whole_stream_is_refused(data):
    with pytest.raises(UnusableInput) as refusal:
        decode_stream(data, most_faces=1000)
    assert refusal.value.code == "broken_model_file"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_stream_is_refused(share):
    with pytest.raises(UnusableInput):
        decode_stream(STREAM[: int(share * len(STREAM))], most_faces=1000)
