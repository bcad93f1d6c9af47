"""Reading in a child: the same model, the same refusals, and no file takes the parent down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.glb import encode_model
from pipeline3d.geometry.import_child import HOST_FAILED, import_in_child, limit_ourselves, read_in_child
from pipeline3d.geometry.import_limits import MIB, ImportLimits
from pipeline3d.geometry.mesh import Model, Texture
from pipeline3d_tests.awkward_meshes import textured_sphere
from pipeline3d_tests.strange_gltf import Strange, picture

BALL = textured_sphere()


def test_the_child_gives_the_model_that_was_in_the_file(tmp_path):
    path = tmp_path / "ball.glb"
    normal = Texture(data=picture(), mime_type="image/png")
    parts = (
        replace(BALL, material=replace(BALL.material, normal=normal, double_sided=True)),
        replace(BALL, texture=None, vertices=BALL.vertices + np.float32(2)),
    )
    path.write_bytes(encode_model(Model(parts=parts), name="ball"))
    imported = read_in_child(path)
    assert imported.format == "glb"
    assert [part.material for part in imported.model.parts] == [part.material for part in parts]
    assert imported.model.parts[0].texture == BALL.texture
    assert np.array_equal(imported.model.parts[0].vertices, BALL.vertices)
    assert np.array_equal(imported.model.parts[0].uvs, BALL.uvs)


def test_coordinates_that_no_map_uses_come_back_too(tmp_path):
    path = tmp_path / "square.glb"
    path.write_bytes(Strange().square().glb())
    assert import_in_child(path).parts[0].uvs is not None


def test_a_refusal_comes_back_with_its_code_and_hint(tmp_path):
    path = tmp_path / "square.glb"
    path.write_bytes(Strange().square().glb())
    with pytest.raises(UnusableInput) as caught:
        import_in_child(path, limits=ImportLimits(faces=1))
    assert caught.value.code == "model_too_large"
    assert "2 faces" in caught.value.message
    assert caught.value.hint


def test_a_child_that_takes_too_long_is_ended(tmp_path):
    path = tmp_path / "square.glb"
    path.write_bytes(Strange().square().glb())
    before = set(psutil.Process().children())
    with pytest.raises(UnusableInput) as caught:
        import_in_child(path, seconds=0.01)
    assert caught.value.code == "model_too_slow"
    assert set(psutil.Process().children()) <= before  # not even as a zombie


def test_a_child_without_enough_memory_is_an_unusable_file(tmp_path):
    path = tmp_path / "large.glb"
    with path.open("wb") as file:
        file.write(Strange().square().glb())
        file.truncate(450 * MIB)
    with pytest.raises(UnusableInput) as caught:
        import_in_child(path, memory_bytes=400 * MIB)
    assert caught.value.code == "model_too_large"


def test_a_child_that_dies_is_an_unusable_file(tmp_path):
    """Too little memory for the interpreter itself: it ends as a native crash would, without an answer."""
    path = tmp_path / "square.glb"
    path.write_bytes(Strange().square().glb())
    with pytest.raises(UnusableInput) as caught:
        import_in_child(path, memory_bytes=16 * MIB)
    assert caught.value.code in ("model_crashed_reader", "model_too_large")


def test_the_limits_are_the_kernels(tmp_path):
    """They hold whatever the reader does, and it cannot lift them."""
    program = (
        "import resource\n"
        f"from {limit_ourselves.__module__} import limit_ourselves\n"
        "limit_ourselves(memory_bytes=2 << 30, seconds=5)\n"
        "try:\n    bytearray(3 << 30)\nexcept MemoryError:\n    print('memory', flush=True)\n"
        "wanted = (resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "try:\n    resource.setrlimit(*wanted)\nexcept ValueError:\n    print('kept', flush=True)\n"
        "import os\nos.abort()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert ended.stdout.split() == ["memory", "kept"]
    assert ended.returncode < 0
    assert not list(tmp_path.iterdir()), "no core was written"


def test_a_full_disk_is_not_the_senders_fault(tmp_path):
    path = tmp_path / "square.glb"
    path.write_bytes(Strange().square().glb())
    given = {"memory_bytes": 4 << 30, "seconds": 60, "parent": os.getpid(), "limits": {}}
    ended = subprocess.run(
        [sys.executable, "-m", import_in_child.__module__, str(path), "/dev/full", json.dumps(given)],
        capture_output=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert ended.returncode == HOST_FAILED
    assert b"No space left" in ended.stderr


def test_a_file_that_is_not_there_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        import_in_child(tmp_path / "none.glb")
