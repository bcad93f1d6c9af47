"""Uploaded files of every format become a model, or are refused with a code that says why."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.importing import import_file, read_file
from pipeline3d.geometry.refusals import HINTS
from pipeline3d_tests.strange_gltf import Strange, picture, zipped

BALL = trimesh.creation.icosphere(subdivisions=2)
BALL.visual.vertex_colors = np.column_stack([np.arange(len(BALL.vertices)) % 256] * 3)


def exported(kind: str, **options) -> bytes:
    data = BALL.export(file_type=kind, **options)
    return data if isinstance(data, bytes) else data.encode()


@pytest.mark.parametrize(
    ("name", "data", "unit"),
    [
        ("ball.glb", exported("glb"), 1.0),
        ("ball.obj", exported("obj"), 1.0),
        ("ball.stl", exported("stl"), 1.0),
        ("text.stl", exported("stl_ascii"), 1.0),
        ("ball.ply", exported("ply"), 1.0),
        ("text.ply", exported("ply", encoding="ascii"), 1.0),
        ("ball.3mf", exported("3mf"), 0.001),  # millimetres, if the file does not say otherwise
    ],
)
def test_what_a_program_exports_is_read(tmp_path, name, data, unit):
    path = tmp_path / name
    path.write_bytes(data)
    imported = read_file(path)
    assert imported.format == name[-3:]
    assert (imported.model.face_count, imported.model.vertex_count) == (320, 162)
    surface = imported.model.surface()
    found = trimesh.Trimesh(surface.vertices / unit, surface.faces, process=False)
    assert found.is_watertight
    assert found.volume == pytest.approx(BALL.volume, rel=1e-5)


def test_a_zip_of_gltf_files_is_read_with_its_neighbours(tmp_path):
    strange = Strange().textured().changed("images/0", {"uri": "textures/skin%20one.png"})
    document = strange.changed("buffers", [{"byteLength": len(strange.content), "uri": "data.bin"}]).document
    files = {
        "model/scene.gltf": json.dumps(document).encode(),
        "model/data.bin": strange.content,
        "model/textures/skin one.png": picture(),
        "license.txt": b"CC0",
    }
    imported = read_file(zipped(tmp_path / "model.zip", files))
    assert imported.format == "gltf"
    assert imported.model.parts[0].texture == picture()


def test_a_picture_that_the_zip_lacks_is_named(tmp_path):
    strange = Strange().textured().changed("images/0", {"uri": "skin.png"})
    with pytest.raises(UnusableInput, match=r"skin\.png") as caught:
        import_file(zipped(tmp_path / "m.zip", {"m.gltf": strange.gltf()}))
    assert caught.value.code == "missing_file"


def test_a_zip_in_a_zip_is_not_opened(tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"a.obj": b"v 0 0 0"}).read_bytes()
    with pytest.raises(UnusableInput) as caught:
        import_file(zipped(tmp_path / "m.zip", {"a.glb": inner}))
    assert caught.value.code == "broken_model_file"


def test_a_lone_gltf_never_reads_what_lies_beside_it(tmp_path):
    strange = Strange().textured().changed("images/0", {"uri": "secret.png"})
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "m.gltf").write_bytes(strange.gltf())
    with pytest.raises(UnusableInput) as caught:
        import_file(tmp_path / "m.gltf")
    assert caught.value.code == "external_reference"


def test_the_content_decides_not_the_name(tmp_path):
    (tmp_path / "ball.obj").write_bytes(exported("glb"))
    assert read_file(tmp_path / "ball.obj").format == "glb"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.glb", b"", "broken_model_file"),
        ("a.glb", b"glTF", "broken_model_file"),
        ("a.glb", b"no glb at all", "broken_model_file"),
        ("a.gltf", b"{", "broken_model_file"),
        ("a.fbx", b"Kaydara FBX Binary", "unsupported_format"),
        ("a.png", picture(), "unsupported_format"),
        ("a.3mf", b"no archive", "archive_refused"),
        ("a.zip", b"PK\x03\x04 cut", "archive_refused"),
        ("a.stl", b"solid nothing\nendsolid nothing\n", "empty_mesh"),
        ("a.stl", exported("stl")[:-1], "broken_model_file"),
        ("a.stl", exported("stl_ascii")[:2000], "broken_model_file"),
        ("a.ply", exported("ply")[:-40], "broken_model_file"),
        ("a.ply", exported("ply", encoding="ascii")[:4000], "broken_model_file"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\n", "empty_mesh"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "broken_model_file"),
        ("a.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "nan_mesh"),
        ("a.obj", b"v 0 0 1e30\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "coordinates_out_of_range"),
        ("a.obj", b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "empty_mesh"),
        ("a.obj", bytes(range(256)) * 9, "broken_model_file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_code(tmp_path, name, data, code):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UnusableInput) as caught:
        import_file(path)
    assert caught.value.code == code
    assert caught.value.hint == HINTS[code]


@pytest.mark.parametrize("kind", ["glb", "obj", "stl", "stl_ascii", "ply", "3mf"])
def test_more_faces_than_the_limit_are_refused_in_every_format(tmp_path, kind):
    path = tmp_path / f"ball.{kind[:3]}"
    path.write_bytes(exported(kind))
    with pytest.raises(UnusableInput) as caught:
        import_file(path, limits=ImportLimits(faces=319))
    assert caught.value.code == "model_too_large"


HOSTILE = "\x00\ud800\x1b[2J\u202e" * 100


def test_what_a_file_says_of_itself_can_be_stored_and_shown_when_it_is_refused(tmp_path):
    path = tmp_path / "a.glb"
    path.write_bytes(Strange().square().changed("extensionsRequired", [HOSTILE]).glb())
    with pytest.raises(UnusableInput) as caught:
        read_file(path)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


def test_notes_quote_a_file_in_what_can_be_stored_and_never_without_end(tmp_path):
    path = tmp_path / "a.glb"
    strange = Strange().textured()
    for number in range(30):
        strange.square(material=number + 1)
        strange.document["materials"].append(
            {
                "name": f"{number}{HOSTILE * 100}",
                "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}},
                "normalTexture": {"index": 0, "texCoord": 1},
            }
        )
    path.write_bytes(strange.glb())
    notes = read_file(path).notes
    assert len(notes) == 21
    assert notes[-1] == "10 further notes are left out."
    assert all(note.isprintable() and len(note) < 500 for note in notes)


def test_a_large_file_is_refused_before_it_is_opened(tmp_path):
    path = tmp_path / "large.glb"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnusableInput) as caught:
        import_file(path)
    assert caught.value.code == "model_too_large"
