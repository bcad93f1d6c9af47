"""A difference that somebody would see is found; rounding, splitting and reordering are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry.comparing import Tolerance, compare, verify_file
from pipeline3d.geometry.formats.stl import write_stl
from pipeline3d.geometry.mesh import Material, Model, TexturedMesh
from pipeline3d_tests.awkward_meshes import (
    AWKWARD,
    USABLE,
    box,
    build,
    coloured_torus,
    textured_sphere,
    turned,
)
from pipeline3d_tests.material_models import every_map, several_parts

SPHERE = textured_sphere(rows=24, columns=32)


def names(source: TexturedMesh | Model, found: TexturedMesh | Model, **options) -> set[str]:
    """What is different, by name."""
    models = [each if isinstance(each, Model) else Model(parts=(each,)) for each in (source, found)]
    return {difference.what for difference in compare(*models, **options)}


def split(mesh: TexturedMesh) -> TexturedMesh:
    """Every corner a vertex of its own."""
    corners = mesh.faces.reshape(-1)
    arrays = {
        name: None if getattr(mesh, name) is None else getattr(mesh, name)[corners]
        for name in ("vertices", "normals", "uvs", "colours")
    }
    return replace(mesh, faces=np.arange(len(corners), dtype=np.int32).reshape(-1, 3), **arrays)


@pytest.mark.parametrize("name", USABLE)
def test_a_model_is_no_different_from_itself(name):
    assert names(build(name), build(name)) == set()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(split, id="corners split"),
        pytest.param(lambda mesh: replace(mesh, faces=mesh.faces[::-1]), id="faces in another order"),
        pytest.param(lambda mesh: replace(mesh, faces=mesh.faces[:, [1, 2, 0]]), id="another first corner"),
        pytest.param(
            lambda mesh: replace(mesh, vertices=mesh.vertices * np.float32(1 + 1e-7)), id="rounded positions"
        ),
        pytest.param(lambda mesh: replace(mesh, normals=None), id="without normals"),
    ],
)
@pytest.mark.parametrize("mesh", [SPHERE, coloured_torus(), every_map()], ids=["texture", "colours", "maps"])
def test_the_same_surface_written_differently_is_no_difference(mesh, change):
    assert names(mesh, change(mesh)) == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda mesh: replace(mesh, faces=mesh.faces[:-1]), "faces", id="one face less"),
        pytest.param(lambda mesh: replace(mesh, vertices=mesh.vertices * 1.001), "bounds", id="larger"),
        pytest.param(
            lambda mesh: replace(mesh, vertices=mesh.vertices[:, [0, 2, 1]]), "volume", id="axes swapped"
        ),
        pytest.param(turned, "volume", id="inside out"),
        pytest.param(
            lambda mesh: replace(mesh, vertices=np.round(mesh.vertices, 1)), "area", id="coarse positions"
        ),
        pytest.param(lambda mesh: replace(mesh, texture=None), "colour", id="texture lost"),
        pytest.param(
            lambda mesh: replace(mesh, uvs=mesh.uvs * (1, -1) + (0, 1)), "colour", id="texture upside down"
        ),
        pytest.param(lambda mesh: replace(mesh, uvs=mesh.uvs[:, ::-1]), "colour", id="texture turned"),
        pytest.param(
            lambda mesh: replace(mesh, material=Material(base_colour=(0.9, 1.0, 0.9, 1.0))),
            "colour",
            id="tinted",
        ),
    ],
)
def test_a_difference_is_found_and_named(change, expected):
    found = change(SPHERE)
    found = replace(found, vertices=np.asarray(found.vertices, np.float32))
    assert expected in names(SPHERE, found)


def test_colours_taken_for_srgb_instead_of_linear_are_a_difference():
    ring = coloured_torus()
    darker = np.rint((ring.colours / 255.0) ** 2.2 * 255).astype(np.uint8)
    assert names(ring, replace(ring, colours=darker)) == {"colour"}


def test_two_parts_that_swap_their_colours_are_a_difference():
    model = several_parts()
    colours = [part.material for part in model.parts]
    swapped = Model(
        parts=(
            replace(model.parts[0], texture=None, material=colours[2]),
            *model.parts[1:2],
            replace(model.parts[2], material=colours[0]),
            *model.parts[3:],
        )
    )
    assert names(model, swapped) == {"colour"}


def test_a_part_that_is_missing_is_a_difference():
    model = several_parts()
    assert {"faces", "area"} <= names(model, Model(parts=model.parts[:-2]))


def test_nothing_at_all_is_a_difference_and_no_crash():
    nothing = replace(box(), faces=np.zeros((0, 3), np.int32))
    assert names(box(), nothing) == {"faces"}
    assert names(nothing, nothing) == set()


def test_a_comparison_can_be_left_out():
    everything = Tolerance(faces=None, bounds=None, area=None, volume=None, colour=None)
    assert names(SPHERE, box(), tolerance=everything) == set()


def test_coordinates_that_are_no_numbers_are_a_difference():
    damaged = SPHERE.vertices.copy()
    damaged[5] = np.nan
    assert {"bounds", "area"} <= names(SPHERE, replace(SPHERE, vertices=damaged))


def test_a_far_vertex_does_not_stop_the_comparison():
    assert names(AWKWARD["far"].make(), AWKWARD["far"].make()) == set()


@pytest.mark.parametrize(
    ("suffix", "content"),
    [(".stl", b""), (".obj", b"not a mesh"), (".glb", b"glTF"), (".3mf", b"PK\x03\x04"), (".xyz", b"1 2 3")],
)
def test_a_file_that_cannot_be_read_is_a_difference(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    assert [each.what for each in verify_file(path, Model(parts=(box(),)))] == ["readable"]


def test_a_truncated_file_is_a_difference(tmp_path):
    path = tmp_path / "cut.stl"
    write_stl(Model(parts=(SPHERE,)), path)
    path.write_bytes(path.read_bytes()[:-1000])
    assert verify_file(path, Model(parts=(SPHERE,)))
