"""3MF packages: units, components, colours, and what would grow without end."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.importing import read_file
from pipeline3d_tests.strange_gltf import zipped

CORE = 'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"'
MESH = """<mesh><vertices><vertex x="0" y="0" z="0"/><vertex x="10" y="0" z="0"/><vertex x="0" y="10" z="0"/>
<vertex x="0" y="0" z="30"/></vertices><triangles><triangle v1="0" v2="2" v3="1"/>
<triangle v1="0" v2="1" v3="3" {first}/><triangle v1="1" v2="2" v3="3"/>
<triangle v1="2" v2="0" v3="3"/></triangles></mesh>"""
SOLID = f'<object id="1" type="model">{MESH.format(first="")}</object>'


def package(tmp_path, resources: str, build: str, *, head: str = "", more: str = "", **files: bytes):
    text = f"""<?xml version="1.0"?>{head}<model {CORE} {more}><resources>{resources}</resources>
<build>{build}</build></model>"""
    return zipped(tmp_path / "a.3mf", {"3D/3dmodel.model": text.encode(), **files})


@pytest.mark.parametrize(("unit", "metres"), [("millimeter", 1e-3), ("inch", 0.0254), ("meter", 1.0)])
def test_units_become_metres_and_up_becomes_up(tmp_path, unit, metres):
    path = package(tmp_path, SOLID, '<item objectid="1"/>', more=f'unit="{unit}"')
    imported = read_file(path)
    assert imported.format == "3mf"
    vertices = imported.model.surface().vertices
    assert np.allclose(np.ptp(vertices, axis=0), np.array((10, 30, 10)) * metres)


def test_more_colours_than_anybody_draws_are_refused(tmp_path):
    colours = "".join(f'<base name="c" displaycolor="#0000{n:02X}"/>' for n in range(4))
    mesh = MESH.format(first="").replace('v3="1"/>', 'v3="1" pid="5" p1="0"/>')
    mesh = mesh.replace('v3="3"/>\n<', 'v3="3" pid="5" p1="2"/>\n<')
    resources = f'<basematerials id="5">{colours}</basematerials><object id="1" pid="5">{mesh}</object>'
    path = package(tmp_path, resources, '<item objectid="1"/>')
    assert len(read_file(path).model.parts) == 2
    with pytest.raises(UnusableInput) as caught:
        read_file(path, limits=ImportLimits(primitives=1))
    assert caught.value.code == "model_too_large"


def test_components_and_items_are_placed(tmp_path):
    pair = """<object id="2" type="model"><components><component objectid="1"/>
    <component objectid="1" transform="1 0 0 0 1 0 0 0 1 100 0 0"/></components></object>"""
    path = package(tmp_path, SOLID + pair, '<item objectid="2" transform="1 0 0 0 1 0 0 0 1 0 0 50"/>')
    model = read_file(path).model
    vertices = model.surface().vertices
    assert model.face_count == 8
    assert np.allclose(vertices.min(axis=0), (0, 0.05, -0.01))
    assert np.allclose(vertices.max(axis=0), (0.11, 0.08, 0))


def test_objects_in_further_model_files_are_found(tmp_path):
    production = 'xmlns:p="http://schemas.microsoft.com/3dmanufacturing/production/2015/06"'
    other = f"<model {CORE}><resources>{SOLID}</resources></model>".encode()
    resources = """<object id="8" type="model"><components>
    <component p:path="/3D/Objects/one.model" objectid="1"/></components></object>"""
    path = package(
        tmp_path, resources, '<item objectid="8"/>', more=production, **{"3D/Objects/one.model": other}
    )
    assert read_file(path).model.face_count == 4


def test_faces_of_different_colours_are_parts(tmp_path):
    colours = """<basematerials id="5"><base name="r" displaycolor="#FF0000"/>
    <base name="g" displaycolor="#00FF0080"/></basematerials>"""
    second = 'pid="5" p1="1"'
    solid = f'<object id="1" pid="5" pindex="0">{MESH.format(first=second)}</object>'
    model = read_file(package(tmp_path, colours + solid, '<item objectid="1"/>')).model
    found = {part.material.base_colour: len(part.faces) for part in model.parts}
    assert found == {(1, 0, 0, 1): 3, (0, 1, 0, 128 / 255): 1}


LAUGHS = "".join(
    f'<object id="{n}"><components>' + f'<component objectid="{n - 1}"/>' * 10 + "</components></object>"
    for n in range(2, 12)
)
ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


ITEM = '<item objectid="1"/>'
ITSELF = '<object id="1"><components><component objectid="1"/></components></object>'


@pytest.mark.parametrize(
    ("resources", "build", "head", "code"),
    [
        pytest.param(SOLID + LAUGHS, '<item objectid="11"/>', "", "model_too_large", id="components of ten"),
        pytest.param(ITSELF, ITEM, "", "broken_model_file", id="its own component"),
        pytest.param(SOLID, ITEM, ENTITIES, "archive_refused", id="entities"),
        pytest.param(SOLID, '<item objectid="9"/>', "", "broken_model_file", id="no such object"),
        pytest.param(SOLID, "", "", "empty_mesh", id="nothing built"),
        pytest.param(SOLID.replace('v1="0"', 'v1="7"'), ITEM, "", "broken_model_file", id="wrong face"),
        pytest.param(SOLID.replace('v1="0"', ""), ITEM, "", "broken_model_file", id="face of two"),
        pytest.param(SOLID.replace('x="10"', 'x="ten"'), ITEM, "", "broken_model_file", id="x is a word"),
        pytest.param(SOLID.replace('x="10"', 'x="nan"'), ITEM, "", "nan_mesh", id="x is NaN"),
        pytest.param(
            SOLID, '<item objectid="1" transform="1 2"/>', "", "broken_model_file", id="short transform"
        ),
        pytest.param("<object>", "", "", "broken_model_file", id="no XML"),
    ],
)
def test_a_hostile_package_is_refused_with_its_code(tmp_path, resources, build, head, code):
    path = package(tmp_path, resources, build, head=head)
    with pytest.raises(UnusableInput) as caught:
        read_file(path, limits=ImportLimits(faces=100_000))
    assert caught.value.code == code
