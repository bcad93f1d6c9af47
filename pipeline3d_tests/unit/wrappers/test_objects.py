"""OBJ files of every shape, and worse, on their way to glTF."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline3d.geometry.glb import decode_glb
from pipeline3d_tests.unit.wrappers.modules import wrapper_module

objects = wrapper_module("objects", "dreamfusion")
glb = wrapper_module("glb")
Failure = wrapper_module("protocol").Failure

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def converted(folder, text: str, **files: bytes):
    """The decoded GLB of an OBJ, and the notes."""
    (folder / "model.obj").write_text(text)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    notes: list[str] = []
    mesh = objects.read_mesh(str(folder / "model.obj"), notes.append)
    return decode_glb(glb.encode(mesh, "test")), notes


def test_z_up_becomes_y_up_with_the_front_towards_z_and_the_same_winding(tmp_path):
    mesh, _ = converted(tmp_path, "v 1 0 0\nv 0 2 0\nv 0 0 3\nf 1 2 3\n")
    assert mesh.vertices.tolist() == [[0, 0, 1], [2, 0, 0], [0, 3, 0]]
    a, b, c = mesh.vertices[mesh.faces[0]]
    outward = np.cross(b - a, c - a)
    assert (outward > 0).all()
    assert np.allclose(mesh.normals[0], outward / np.linalg.norm(outward))


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ("f 1 2 3", [[0, 1, 2]]),
        ("f 1/1 2/2 3/3", [[0, 1, 2]]),
        ("f 1//1 2//1 3//1", [[0, 1, 2]]),
        ("f 1/1/ 2/2/ 3/3/", [[0, 1, 2]]),  # as threestudio writes them
        ("f -4 -3 -2", [[0, 1, 2]]),
        ("f 1 2 3 4", [[0, 1, 2], [0, 2, 3]]),  # a polygon
        ("f 1 2 3\nf 3 3 1", [[0, 1, 2]]),  # a face that is a line is left out
    ],
)
def test_every_way_to_write_a_face_is_read(faces, expected, tmp_path):
    text = TRIANGLE + "v 1 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nvn 0 0 1\n" + faces + "\n"
    mesh, _ = converted(tmp_path, text)
    assert mesh.faces.tolist() == expected


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        (("1 0 0", "0 1 0", "0 0 0.5"), [[255, 0, 0], [0, 255, 0], [0, 0, 55]]),
        (("255 0 0", "0 255 0", "1 1 128"), [[255, 0, 0], [0, 255, 0], [0, 0, 55]]),  # 1 of 255 stays dark
        (("2 -1 0", "255 0 0", "0 0 0"), [[0, 0, 0], [255, 0, 0], [0, 0, 0]]),
    ],
)
def test_the_scale_of_colours_is_one_for_the_whole_file(colours, expected, tmp_path):
    places = ("0 0 0", "1 0 0", "0 1 0")
    lines = [f"v {place} {colour}" for place, colour in zip(places, colours, strict=True)]
    mesh, notes = converted(tmp_path, "\n".join(lines) + "\nf 1 2 3\n")
    assert mesh.colours[:, :3].tolist() == expected
    assert notes == []


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(buffer, form)
    return buffer.getvalue()


TEXTURED = "mtllib model.mtl\nusemtl default\n" + TRIANGLE + "vt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n"


@pytest.mark.parametrize(
    ("map_line", "name", "content", "used"),
    [
        (b"map_Kd skin.jpg", "skin__jpg", picture("JPEG"), True),
        (b"map_Kd skin.png", "skin__png", picture("PNG"), True),
        (b"map_Kd my skin.png", "my skin__png", picture("PNG"), True),
        (b"map_Kd -s 1 1 1 skin.png", "skin__png", picture("PNG"), True),
        (b"map_Kd skin.png", "skin__png", picture("PNG")[:-20], False),  # cut short
        (b"map_Kd skin.bmp", "skin__bmp", picture("BMP"), False),  # glTF knows no BMP
        (b"map_Kd skin.png", "other__png", picture("PNG"), False),
        (b"map_Kd ../../../etc/hostname", "skin__png", picture("PNG"), False),
        (b"map_Kd /etc/hostname", "skin__png", picture("PNG"), False),
    ],
)
def test_a_texture_is_embedded_where_it_is_whole_and_beside_the_mesh(map_line, name, content, used, tmp_path):
    library = b"newmtl other\nKd 0 0 1\nnewmtl default\n" + map_line + b"\n"
    mesh, notes = converted(tmp_path, TEXTURED, model__mtl=library, **{name: content})
    assert (mesh.texture == content) is used
    assert bool(notes) is not used
    if used:
        assert mesh.uvs.tolist() == [[0, 1], [1, 1], [0, 0]]


def test_a_plain_colour_of_the_material_is_used_where_there_is_nothing_else(tmp_path):
    mesh, notes = converted(tmp_path, TEXTURED, model__mtl=b"newmtl default\nKd 1 0.5 0\n")
    assert mesh.colours[0].tolist() == [255, 55, 0, 255]
    assert notes == []


def test_seams_share_their_normals_and_unused_vertices_are_left_out(tmp_path):
    library = b"newmtl default\nmap_Kd skin.png\n"
    text = (
        "mtllib model.mtl\nusemtl default\nv 9 9 9\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 1\n"
        "vt 0 0\nvt 1 0\nvt 0 1\nvt 1 1\nf 2/1 3/2 4/3\nf 4/4 3/1 5/2\n"
    )
    mesh, _ = converted(tmp_path, text, model__mtl=library, skin__png=picture("PNG"))
    assert len(mesh.vertices) == 6
    same = [np.flatnonzero((mesh.vertices == vertex).all(axis=1)) for vertex in mesh.vertices]
    for group in same:
        assert np.allclose(mesh.normals[group], mesh.normals[group[0]])
    assert [9, 9, 9] not in mesh.vertices.tolist()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_output"),
        (TRIANGLE, "empty_output"),
        (TRIANGLE + "f 1 1 2\n", "empty_output"),  # a face without an area only
        (TRIANGLE + "f 1 2 4\n", "broken_output"),
        (TRIANGLE + "f 0 1 2\n", "broken_output"),
        (TRIANGLE + "f -4 1 2\n", "broken_output"),
        (TRIANGLE + "f 1 2\n", "broken_output"),
        (TRIANGLE + "f 1/5 2/5 3/5\n", "broken_output"),
        (TRIANGLE + "f a b c\n", "broken_output"),
        ("v 0 0\nf 1 1 1\n", "broken_output"),
        ("v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "broken_output"),
        ("v inf 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "broken_output"),
        ("v 1e300 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "broken_output"),  # no float32
        ("v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "broken_output"),  # colour at one vertex only
        ("\x00\x01\x02 garbage \xff\n" * 10, "empty_output"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(text, code, tmp_path):
    with pytest.raises(Failure) as refused:
        converted(tmp_path, text)
    assert refused.value.code == code


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(Failure):
        objects.read_mesh(str(tmp_path / "nothing.obj"), print)


WORDS = st.sampled_from(
    ["v", "f", "vt", "1", "-1", "0.5", "nan", "1/2", "1//", "/", "\n", "mtllib", "..", "9e99"]
)


@given(st.lists(WORDS, max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_is_in_the_file_it_is_converted_or_refused(tmp_path_factory, words):
    folder = tmp_path_factory.mktemp("obj", numbered=True)
    try:
        mesh, _ = converted(folder, TRIANGLE + " ".join(words) + "\nf 1 2 3\n")
    except Failure as failure:
        refused = failure.code
    else:
        refused = None
        assert np.isfinite(mesh.vertices).all()
    assert refused in (None, "broken_output", "empty_output")


def test_a_mesh_of_a_usual_size_is_converted_whole(tmp_path):
    """threestudio's default grid of 128 gives about 60,000 faces."""
    side = 180
    lines = [f"v {x} {y} {(x * y) % 7} 0.1 0.2 0.3" for x in range(side) for y in range(side)]
    for x in range(side - 1):
        for y in range(side - 1):
            a = x * side + y + 1
            lines.append(f"f {a}// {a + side}// {a + side + 1}// {a + 1}//")
    mesh, _ = converted(tmp_path, "\n".join(lines) + "\n")
    assert len(mesh.faces) == 2 * (side - 1) ** 2
