"""3MF packages are what the core specification asks for."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest
from lxml import etree

from pipeline3d.geometry.comparing import verify_file
from pipeline3d.geometry.formats.threemf import write_3mf
from pipeline3d.geometry.importing import import_file
from pipeline3d.geometry.mesh import Material, Model
from pipeline3d_tests.awkward_meshes import build, plain, textured_sphere
from pipeline3d_tests.material_models import several_parts

CORE = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"


def document_of(path):
    """The model's XML."""
    with zipfile.ZipFile(path) as package:
        assert package.testzip() is None
        assert package.namelist() == ["[Content_Types].xml", "_rels/.rels", "3D/3dmodel.model"]
        for name in package.namelist():
            etree.fromstring(package.read(name))
        return etree.fromstring(package.read("3D/3dmodel.model"))


def test_metres_become_millimetres_and_the_model_stands_upright(tmp_path):
    tall = plain(
        [(0, 0, 0), (0.1, 0, 0), (0, 0.2, 0), (0, 0, 0.3)], [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    )
    path = tmp_path / "tall.3mf"
    write_3mf(Model(parts=(tall,)), path)
    document = document_of(path)
    points = np.array([[float(each.get(axis)) for axis in "xyz"] for each in document.iter(f"{CORE}vertex")])
    assert document.get("unit") == "millimeter"
    assert np.allclose(points.min(axis=0), (0, -300, 0), atol=1e-4)
    assert np.allclose(points.max(axis=0), (100, 0, 200), atol=1e-4)


@pytest.mark.parametrize("unit", ["m", "cm", "mm", "in"])
@pytest.mark.parametrize("up_axis", ["y", "z"])
def test_a_model_in_another_unit_or_pose_is_compared_in_its_own(tmp_path, unit, up_axis):
    path = tmp_path / "model.3mf"
    write_3mf(several_parts(), path, unit=unit, up_axis=up_axis)
    assert verify_file(path, several_parts(), unit=unit, up_axis=up_axis) == []
    other = "mm" if unit != "mm" else "cm"
    assert verify_file(path, several_parts(), unit=other, up_axis=up_axis)


def test_what_we_write_our_own_importer_reads_in_the_same_place(tmp_path):
    path = tmp_path / "mug.3mf"
    write_3mf(build("mug"), path)
    found, source = import_file(path).surface(), build("mug").surface()
    assert np.allclose(found.vertices.min(axis=0), source.vertices.min(axis=0), atol=1e-6)
    assert np.allclose(found.vertices.max(axis=0), source.vertices.max(axis=0), atol=1e-6)


def test_seams_are_welded_and_no_triangle_has_a_corner_twice(tmp_path):
    path = tmp_path / "ball.3mf"
    ball = textured_sphere()
    write_3mf(Model(parts=(ball,)), path)
    document = document_of(path)
    vertices = list(document.iter(f"{CORE}vertex"))
    triangles = [
        [int(each.get(name)) for name in ("v1", "v2", "v3")] for each in document.iter(f"{CORE}triangle")
    ]
    assert len(vertices) == len(np.unique(ball.vertices, axis=0)) < len(ball.vertices)
    assert all(len(set(triangle)) == 3 for triangle in triangles)
    assert {number for triangle in triangles for number in triangle} == set(range(len(vertices)))


def test_resources_are_numbered_once_and_every_object_is_built(tmp_path):
    path = tmp_path / "parts.3mf"
    write_3mf(several_parts(), path)
    document = document_of(path)
    resources = document.find(f"{CORE}resources")
    ids = [each.get("id") for each in resources]
    assert len(set(ids)) == len(ids)
    objects = [each.get("id") for each in resources.iter(f"{CORE}object")]
    assert [each.get("objectid") for each in document.iter(f"{CORE}item")] == objects


def test_a_hostile_name_is_text(tmp_path):
    path = tmp_path / "named.3mf"
    part = plain([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)])
    name = '"/><object id="7">\0\udc80 & <é'
    write_3mf(Model(parts=(replace(part, material=Material(name=name)),)), path)
    (base,) = document_of(path).iter(f"{CORE}base")
    assert base.get("name") == '"/><object id="7"> & <é'
