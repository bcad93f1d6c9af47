"""The scene code: whole after a round trip, the same bytes for the same scene, refused when damaged."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from pipeline3d.errors import BrokenArtifact
from pipeline3d.generation.triposr import SceneCode
from pipeline3d_tests.tiny_triposr import FIGURE, MARKED_BODY, PUBLISHED, TINY, build_scene


@pytest.fixture(scope="module")
def scene():
    return build_scene(TINY, MARKED_BODY, roughness=0.01)


@pytest.fixture
def path(tmp_path, scene):
    scene.save(tmp_path / "scene.safetensors")
    return tmp_path / "scene.safetensors"


def test_a_scene_comes_back_as_it_was(path, scene):
    found = SceneCode.load(path)
    assert found.planes.tobytes() == scene.planes.tobytes()
    assert len(found.decoder) == len(scene.decoder)
    for (weight, bias), (other_weight, other_bias) in zip(found.decoder, scene.decoder, strict=True):
        assert weight.tobytes() == other_weight.tobytes()
        assert bias.tobytes() == other_bias.tobytes()
    for name in ("radius", "density_bias", "threshold", "engine_version"):
        assert getattr(found, name) == getattr(scene, name)


def test_a_scene_of_the_published_sizes_is_small(tmp_path):
    build_scene(PUBLISHED, FIGURE).save(tmp_path / "scene")
    assert 2.0e6 < (tmp_path / "scene").stat().st_size < 2.2e6


def test_the_same_scene_gives_the_same_bytes_in_every_process(path, tmp_path):
    code = (
        "import sys, pathlib; from pipeline3d.generation.triposr import SceneCode;"
        "SceneCode.load(pathlib.Path(sys.argv[1])).save(pathlib.Path(sys.argv[2]));"
        "print('torch' in sys.modules)"
    )
    for name in ("first", "second"):
        ran = subprocess.run(
            [sys.executable, "-c", code, path, tmp_path / name], capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip() == "False"
        assert (tmp_path / name).read_bytes() == path.read_bytes()


def test_nothing_is_left_beside_a_saved_scene(path):
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_scene_that_cannot_be_written_leaves_nothing(tmp_path, scene):
    (tmp_path / "scene").mkdir()
    with pytest.raises(OSError, match="directory"):
        scene.save(tmp_path / "scene")
    assert [found.name for found in tmp_path.iterdir()] == ["scene"]


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_a_truncated_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BrokenArtifact, match="no scene code"):
        SceneCode.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BrokenArtifact):
        SceneCode.load(tmp_path / "nowhere")


GOOD_HEADER = {
    "format": 1,
    "engine": "triposr",
    "engine_version": "1.0",
    "radius": 0.87,
    "density_bias": -1.0,
    "threshold": 25.0,
}


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "another"},
        {"format": 2},
        {"radius": 0},
        {"radius": "0.87"},
        {"radius": True},
        {"threshold": -1.0},
        {"density_bias": float("nan")},
        {"engine_version": None},
    ],
)
def test_a_wrong_header_is_refused(path, change):
    text = json.dumps(GOOD_HEADER | change)
    save_file(load_file(path), path, metadata={"scene": text})
    with pytest.raises(BrokenArtifact):
        SceneCode.load(path)


def test_a_file_without_a_header_is_refused(path):
    save_file(load_file(path), path)
    with pytest.raises(BrokenArtifact, match="header"):
        SceneCode.load(path)


def poison(tensors):
    tensors["planes"][1, 2, 3, 4] = np.inf


def drop_a_layer(tensors):
    del tensors["decoder.03.weight"]


def cut_planes(tensors):
    tensors["planes"] = np.ascontiguousarray(tensors["planes"][:2])


def stretch_planes(tensors):
    tensors["planes"] = np.ascontiguousarray(tensors["planes"][..., 1:])


def lose_channels(tensors):
    tensors["planes"] = np.ascontiguousarray(tensors["planes"][:, 1:])


def widen_the_end(tensors):
    tensors["decoder.06.weight"] = np.zeros((5, 40), np.float32)
    tensors["decoder.06.bias"] = np.zeros(5, np.float32)


def use_other_numbers(tensors):
    tensors["planes"] = tensors["planes"].astype(np.float16)


@pytest.mark.parametrize(
    "change",
    [poison, drop_a_layer, cut_planes, stretch_planes, lose_channels, widen_the_end, use_other_numbers],
)
def test_wrong_tensors_are_refused(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"scene": json.dumps(GOOD_HEADER)})
    with pytest.raises(BrokenArtifact):
        SceneCode.load(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_still_a_scene(tmp_path_factory, scene, data):
    path = tmp_path_factory.mktemp("damaged") / "scene"
    scene.save(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, 1600))
    content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = SceneCode.load(path)
    except BrokenArtifact:
        return
    assert np.isfinite(found.planes).all()
    assert found.radius > 0
