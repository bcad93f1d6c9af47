"""OBJ files hold what their readers expect beside the geometry."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline3d.geometry.formats.obj import file_stem, write_obj
from pipeline3d.geometry.mesh import Model
from pipeline3d_tests.awkward_meshes import coloured_torus, textured_sphere
from pipeline3d_tests.material_models import every_map, several_parts


def test_the_paths_of_all_written_files_are_returned(tmp_path):
    paths = write_obj(Model(parts=(every_map(),)), tmp_path, name="vase")
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert [path.suffix for path in paths[:2]] == [".obj", ".mtl"]


def test_the_material_names_every_map_and_every_named_file_exists(tmp_path):
    _, material, *pictures = write_obj(Model(parts=(every_map(alpha_mode="BLEND"),)), tmp_path, name="vase")
    lines = dict(line.split(" ", 1) for line in material.read_text().splitlines() if " " in line)
    maps = {key for key in lines if key.startswith("map_") or key == "norm"}
    assert maps == {"map_Kd", "map_d", "map_Pr", "map_Pm", "norm", "map_Ka", "map_Ke"}
    assert {lines[key] for key in maps} == {picture.name for picture in pictures}


def test_roughness_and_metal_come_out_of_their_channels(tmp_path):
    part = every_map()
    _, _, *pictures = write_obj(Model(parts=(part,)), tmp_path, name="vase")
    packed = cv2.imdecode(np.frombuffer(part.material.metallic_roughness.data, np.uint8), cv2.IMREAD_COLOR)
    for word, channel in (("roughness", 1), ("metallic", 0)):
        (path,) = (each for each in pictures if word in each.name)
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), packed[..., channel])


def test_a_webp_texture_becomes_one_that_every_program_opens(tmp_path):
    _, _, *pictures = write_obj(Model(parts=(every_map(),)), tmp_path, name="vase")
    assert {path.suffix for path in pictures} <= {".png", ".jpg"}
    assert all(cv2.imread(str(path)) is not None for path in pictures)


def test_parts_of_one_material_share_it(tmp_path):
    sphere = textured_sphere()
    _, material, *pictures = write_obj(Model(parts=(sphere, sphere)), tmp_path, name="two")
    assert material.read_text().count("newmtl") == 1
    assert len(pictures) == 1


def test_all_vertices_have_colours_where_some_part_has(tmp_path):
    path, *_ = write_obj(several_parts(), tmp_path, name="mixed")
    widths = {len(line.split()) for line in path.read_text().splitlines() if line.startswith("v ")}
    assert widths == {7}


def test_a_vertex_colour_is_written_as_srgb(tmp_path):
    ring = coloured_torus()
    grey = replace(ring, colours=np.full((len(ring.vertices), 4), 55, np.uint8))
    path, *_ = write_obj(Model(parts=(grey,)), tmp_path, name="grey")
    line = next(line for line in path.read_text().splitlines() if line.startswith("v "))
    # 55 of 255 linear is 128 of 255 in sRGB
    assert [round(float(value) * 255) for value in line.split()[4:]] == [128, 128, 128]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("vase", "vase"),
        ("a b/c.d", "a_b_c_d"),
        ("../../etc/passwd", "etc_passwd"),
        ("Größe", "Gr_e"),
        ("", "model"),
        ("...", "model"),
        ("x" * 300, "x" * 60),
    ],
)
def test_a_name_becomes_a_harmless_file_name(name, stem):
    assert file_stem(name) == stem
