"""Every format of every usable mesh is read by another library and is the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.comparing import verify_file
from pipeline3d.geometry.formats.obj import write_obj
from pipeline3d.geometry.formats.ply import write_ply
from pipeline3d.geometry.formats.stl import write_stl
from pipeline3d.geometry.formats.threemf import write_3mf
from pipeline3d.geometry.glb import encode_model
from pipeline3d.geometry.mesh import Model
from pipeline3d_tests.awkward_meshes import USABLE, build
from pipeline3d_tests.material_models import any_models, every_map, several_parts


def write_obj_to(model: Model, path: Path) -> None:
    write_obj(model, path.parent, name=path.stem)


def write_glb(model: Model, path: Path) -> None:
    path.write_bytes(encode_model(model, name="thing"))


WRITERS = {"obj": write_obj_to, "stl": write_stl, "ply": write_ply, "3mf": write_3mf, "glb": write_glb}
ALWAYS = [name for name in USABLE if name != "point"]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("name", ALWAYS)
def test_what_is_read_back_is_what_was_written(tmp_path, name, suffix):
    path = tmp_path / f"model.{suffix}"
    WRITERS[suffix](build(name), path)
    assert verify_file(path, build(name)) == []


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("model", [several_parts(), Model(parts=(every_map(),))], ids=["parts", "maps"])
def test_materials_and_parts_are_kept(tmp_path, model, suffix):
    path = tmp_path / f"model.{suffix}"
    WRITERS[suffix](model, path)
    assert verify_file(path, model) == []


@pytest.mark.parametrize("suffix", ["obj", "stl", "ply", "3mf"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=any_models())
def test_any_model_is_written_and_read_back_or_refused(tmp_path, suffix, model):
    path = tmp_path / f"model.{suffix}"
    if suffix == "3mf" and not any(has_proper_face(part) for part in model.parts):
        with pytest.raises(BrokenModelOutput, match="line or a point"):
            write_3mf(model, path)
        return
    WRITERS[suffix](model, path)
    # OBJ has no vertex colours over a texture, and the comparison says so
    both = any(part.texture is not None and part.colours is not None for part in model.parts)
    allowed = {"colour"} if suffix == "obj" and both else set()
    assert {each.what for each in verify_file(path, model)} <= allowed


def has_proper_face(part) -> bool:
    """Whether some face has its corners at three different places."""
    return any(len(np.unique(corners, axis=0)) == 3 for corners in part.vertices[part.faces] + 0.0)


@pytest.mark.parametrize("suffix", ["obj", "stl", "ply", "3mf"])
@pytest.mark.parametrize(
    ("name", "code"),
    [("empty", "empty_mesh"), ("no_faces", "empty_mesh"), ("nan", "nan_mesh"), ("infinite", "nan_mesh")],
)
def test_a_model_that_is_none_is_refused_and_leaves_no_file(tmp_path, suffix, name, code):
    with pytest.raises(BrokenModelOutput) as refused:
        WRITERS[suffix](build(name), tmp_path / f"model.{suffix}")
    assert refused.value.code == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["obj", "stl", "ply", "3mf"])
def test_equal_models_give_equal_bytes(tmp_path, suffix):
    paths = [tmp_path / folder / f"model.{suffix}" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        WRITERS[suffix](several_parts(), path)
    files = [sorted(path.parent.iterdir()) for path in paths]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


@pytest.mark.parametrize("suffix", ["stl", "ply", "3mf"])
def test_a_folder_that_cannot_be_written_is_an_error_of_the_system(tmp_path, suffix):
    with pytest.raises(OSError, match="No such file"):
        WRITERS[suffix](several_parts(), tmp_path / "absent" / f"model.{suffix}")


def test_faces_are_not_reordered_by_stl(tmp_path):
    model = build("textured_sphere")
    write_stl(model, tmp_path / "model.stl")
    content = (tmp_path / "model.stl").read_bytes()[84:]
    records = np.frombuffer(content, np.uint8).reshape(-1, 50)[:, 12:48]
    corners = np.ascontiguousarray(records).view("<f4").reshape(-1, 3, 3)
    assert np.array_equal(corners, model.parts[0].vertices[model.parts[0].faces])
