"""glTF as separate files is the same model as the GLB, and stays in its folder."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.gltf_files import read_gltf_files, write_gltf
from pipeline3d.geometry.mesh import Model, Texture
from pipeline3d_tests.awkward_meshes import textured_sphere
from pipeline3d_tests.strange_gltf import picture

BALL = textured_sphere()
ROUGH = Texture(data=picture(), mime_type="image/png")
MODEL = Model(
    parts=(
        replace(BALL, material=replace(BALL.material, metallic_roughness=ROUGH)),
        replace(BALL, vertices=BALL.vertices + np.float32(2)),
    )
)


def test_what_is_written_is_read_again(tmp_path):
    paths = write_gltf(MODEL, tmp_path, name="thing", extras={"seed": 7})
    found = read_gltf_files(paths[0])
    assert len(found.parts) == 2
    for ours, theirs in zip(MODEL.parts, found.parts, strict=True):
        assert np.array_equal(ours.vertices, theirs.vertices)
        assert np.array_equal(ours.faces, theirs.faces)
        assert ours.texture == theirs.texture
        assert ours.material == theirs.material


def test_each_picture_is_a_file_once_and_the_json_names_them_all(tmp_path):
    paths = write_gltf(MODEL, tmp_path, name="thing", extras={"seed": 7})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    document = json.loads(paths[0].read_text())
    assert document["asset"]["extras"] == {"seed": 7}
    named = [entry["uri"] for entry in document["buffers"] + document["images"]]
    assert {paths[0].name, *named} == {path.name for path in paths}
    assert len(document["images"]) == 2


def test_equal_models_give_equal_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (write_gltf(MODEL, tmp_path / folder, name="m") for folder in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("../thing.bin", "external_reference"),
        ("/etc/passwd", "external_reference"),
        ("no.bin", "missing_file"),
    ],
)
def test_a_file_outside_the_folder_is_not_read(tmp_path, uri, code):
    path = write_gltf(MODEL, tmp_path, name="thing")[0]
    document = json.loads(path.read_text())
    document["buffers"][0]["uri"] = uri
    path.write_text(json.dumps(document))
    with pytest.raises(UnusableInput) as caught:
        read_gltf_files(path)
    assert caught.value.code == code


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    path = write_gltf(MODEL, tmp_path, name="thing")[0]
    (tmp_path / "thing.bin").rename(tmp_path.parent / "elsewhere.bin")
    (tmp_path / "thing.bin").symlink_to(tmp_path.parent / "elsewhere.bin")
    with pytest.raises(UnusableInput) as caught:
        read_gltf_files(path)
    assert caught.value.code == "missing_file"
