"""OBJ files with their materials: what exporters write, and what they leave out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.import_limits import LIMITS
from pipeline3d.geometry.import_obj import read_obj
from pipeline3d.geometry.mesh import MATT, Model
from pipeline3d.geometry.refusals import refused
from pipeline3d_tests.strange_gltf import picture

CORNERS = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"


def read(text: str, files: dict[str, bytes] | None = None, notes: list[str] | None = None) -> Model:
    def fetch(name: str) -> bytes:
        if name not in (files or {}):
            raise refused("missing_file", f"it names {name!r}")
        return (files or {})[name]

    return read_obj(text.encode(), LIMITS, [] if notes is None else notes, fetch=fetch)


def area_normal(model: Model) -> np.ndarray:
    surface = model.surface()
    a, b, c = (surface.vertices[surface.faces[:, corner]].astype(np.float64) for corner in range(3))
    return np.cross(b - a, c - a).sum(axis=0) / 2


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3\nf 1 3 4\n",
        "f 1 2 3 4\n",
        "f 1/1 2/2 3/3 4/4\n",
        "f -4 -3 -2 -1\n",
        "f -4/-4 -3/-3 -2/-2\nf 1/1 3/3 4/4\n",
        "f 1 2 3 \\\n4\n",
    ],
)
def test_a_square_is_a_square_however_its_faces_are_written(faces):
    model = read(CORNERS + faces)
    assert model.face_count == 2
    assert np.allclose(area_normal(model), (0, 0, 1))


def test_negative_indices_count_from_their_own_line():
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 0 0 5\nv 1 0 5\nv 0 1 5\nf -3 -2 -1\n"
    assert sorted(read(text).surface().vertices[:, 2].tolist()) == [0, 0, 0, 5, 5, 5]


def test_texture_coordinates_count_from_above():
    part = read(CORNERS + "f 1/1 2/2 3/3\n").parts[0]
    assert part.uvs is not None
    corner = np.flatnonzero((part.vertices == (0, 0, 0)).all(axis=1))[0]
    assert part.uvs[corner].tolist() == [0, 1]


LIBRARY = """
newmtl red paint
Kd 1 0 0
Pr 0.3
Pm 0.6
d 0.5
newmtl wood
Kd 0 0 0
map_Kd -s 2 2 1 oak planks.png
map_Bump -bm 0.4 oak_normal.png
Ke 0 0 0
newmtl stone
map_Kd oak planks.png
map_Bump stone_height.png
"""


def test_each_material_is_a_part_with_its_values_and_maps():
    text = "mtllib house.mtl\n" + CORNERS
    for name in ("red paint", "wood", "stone"):
        text += f"usemtl {name}\nf 1/1 2/2 3/3\n"
    files = {
        "house.mtl": LIBRARY.encode(),
        "oak planks.png": picture(),
        "oak_normal.png": picture(colour=(128, 128, 255)),
        "stone_height.png": picture(),
    }
    notes: list[str] = []
    parts = {part.material.name: part for part in read(text, files, notes).parts}
    assert set(parts) == {"red paint", "wood", "stone"}
    red = parts["red paint"].material
    assert red.base_colour == (1, 0, 0, 0.5)
    assert (red.roughness, red.metallic, red.alpha_mode) == (0.3, 0.6, "BLEND")
    assert parts["wood"].texture == picture()
    assert parts["wood"].material.base_colour == (1, 1, 1, 1), "a black factor would hide the picture"
    assert parts["wood"].material.normal.data == files["oak_normal.png"]
    assert parts["stone"].material.normal is None, "a height map is no normal map"
    assert notes == []


def test_an_obj_alone_is_a_shape_with_notes_of_what_lacks():
    notes: list[str] = []
    model = read("mtllib house.mtl\n" + CORNERS + "usemtl wood\nf 1/1 2/2 3/3\n", {}, notes)
    assert model.parts[0].material.name == "wood"
    assert model.parts[0].material.roughness == MATT.roughness
    assert notes == ["The file 'house.mtl' that the OBJ names is not there."]


def test_old_picture_formats_become_png(tmp_path):
    Image.new("RGB", (6, 3), (9, 8, 7)).save(tmp_path / "a.tga")
    files = {"m.mtl": b"newmtl a\nmap_Kd a.tga\n", "a.tga": (tmp_path / "a.tga").read_bytes()}
    part = read("mtllib m.mtl\n" + CORNERS + "usemtl a\nf 1/1 2/2 3/3\n", files).parts[0]
    assert part.texture_mime_type == "image/png"
    assert part.texture.startswith(b"\x89PNG")


def test_a_damaged_picture_is_refused():
    files = {"m.mtl": b"newmtl a\nmap_Kd a.png\n", "a.png": picture()[:-9]}
    with pytest.raises(UnusableInput) as caught:
        read("mtllib m.mtl\n" + CORNERS + "usemtl a\nf 1/1 2/2 3/3\n", files)
    assert caught.value.code == "broken_texture"


def test_vertex_colours_are_made_linear():
    text = "v 0 0 0 1 0.5 0\nv 1 0 0 1 0.5 0\nv 0 1 0 1 0.5 0\nf 1 2 3\n"
    colours = read(text).parts[0].colours
    assert colours is not None
    assert np.abs(colours[0].astype(int) - (255, 55, 0, 255)).max() <= 1


@pytest.mark.parametrize(
    "faces", ["f 1 2\n", "f a b c\n", "f 1 2 99\n", "f -9 1 2\n", "f 1 2 -x\n", "f 1 -\n", "f \n", ""]
)
def test_faces_that_name_nothing_are_refused(faces):
    with pytest.raises(UnusableInput) as caught:
        read(CORNERS + faces)
    assert caught.value.code in ("broken_model_file", "empty_mesh")
