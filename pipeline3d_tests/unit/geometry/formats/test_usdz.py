"""USDZ files hold the whole material, pass OpenUSD's checks and are the same model when they are read."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from pxr import Usd, UsdGeom, UsdShade

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.comparing import verify_file
from pipeline3d.geometry.formats.usdz import read_usdz, write_usdz
from pipeline3d.geometry.mesh import Material, Model
from pipeline3d_tests.awkward_meshes import UNUSABLE, USABLE, box, build, coloured_torus, textured_sphere
from pipeline3d_tests.material_models import JPEG, PNG, WEBP, any_models, every_map, several_parts


def write(model: Model, folder: Path, **options):
    """The report on `model.usdz`; OpenUSD runs in this process, which is faster."""
    return write_usdz(model, folder / "model.usdz", name="vase", isolated=False, **options)


def shaders(path: Path) -> dict[str, UsdShade.Shader]:
    """The nodes of a file's first material by name. The stage must outlive them."""
    stage = Usd.Stage.Open(str(path))
    root = stage.GetPrimAtPath("/Model/Materials/material_0")
    return {prim.GetName(): UsdShade.Shader(prim) for prim in root.GetChildren()} | {"": stage}


def source_of(nodes, entry: str) -> tuple[str, str]:
    """The node and the channel that feed an input of the surface."""
    ((found,), _) = nodes["surface"].GetInput(entry).GetConnectedSources()
    return found.source.GetPrim().GetName(), found.sourceName


@pytest.mark.parametrize("name", USABLE)
def test_every_usable_mesh_becomes_a_valid_file_of_the_same_model(tmp_path, name):
    report = write(build(name), tmp_path)
    assert report.problems == ()
    assert report.differences == ()
    assert report.passed


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=any_models())
def test_any_model_becomes_a_file_without_complaints(tmp_path, model):
    report = write(model, tmp_path)
    assert report.problems == ()
    assert {each.what for each in report.differences} <= ({"colour"} if report.limitations else set())


@pytest.mark.parametrize("name", [name for name in UNUSABLE if name not in ("far", "point")])
def test_a_model_that_is_none_is_refused_and_leaves_nothing(tmp_path, name):
    with pytest.raises(BrokenModelOutput):
        write(build(name), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("alpha_mode", ["OPAQUE", "MASK", "BLEND"])
@pytest.mark.parametrize("base", [PNG, JPEG, WEBP])
def test_a_material_with_every_map_is_valid_and_its_pictures_are_png_or_jpeg(tmp_path, alpha_mode, base):
    report = write(Model(parts=(every_map(alpha_mode=alpha_mode, base=base),)), tmp_path)
    assert report == replace(report, problems=(), differences=(), limitations=())
    with zipfile.ZipFile(tmp_path / "model.usdz") as package:
        suffixes = [Path(name).suffix for name in package.namelist()]
    assert suffixes[0] == ".usdc"
    assert set(suffixes[1:]) <= {".png", ".jpg"}
    assert len(suffixes) == 6


def test_every_map_feeds_its_input_from_its_channel(tmp_path):
    write(Model(parts=(every_map(alpha_mode="BLEND"),)), tmp_path)
    nodes = shaders(tmp_path / "model.usdz")
    assert {
        entry: source_of(nodes, entry)
        for entry in (
            "diffuseColor",
            "opacity",
            "metallic",
            "roughness",
            "normal",
            "occlusion",
            "emissiveColor",
        )
    } == {
        "diffuseColor": ("base_colour", "rgb"),
        "opacity": ("base_colour", "a"),
        "metallic": ("metallic_roughness", "b"),
        "roughness": ("metallic_roughness", "g"),
        "normal": ("normal", "rgb"),
        "occlusion": ("occlusion", "r"),
        "emissiveColor": ("emissive", "rgb"),
    }


def test_factors_scale_their_pictures_and_data_is_not_taken_for_colour(tmp_path):
    write(Model(parts=(every_map(alpha_mode="BLEND"),)), tmp_path)
    nodes = shaders(tmp_path / "model.usdz")

    def said(name: str, entry: str):
        return nodes[name].GetInput(entry).Get()

    assert np.allclose(said("base_colour", "scale"), (0.9, 0.5, 0.7, 0.8))
    assert np.allclose(said("metallic_roughness", "scale"), (1.0, 0.6, 0.4, 1.0))
    assert np.allclose(said("occlusion", "scale"), (0.7, 0.7, 0.7, 1.0))
    assert np.allclose(said("occlusion", "bias"), (0.3, 0.3, 0.3, 0.0))
    assert np.allclose(said("normal", "scale"), (2, 2, 2, 1))
    spaces = {name: said(name, "sourceColorSpace") for name in ("base_colour", "emissive", "normal")}
    assert spaces == {"base_colour": "sRGB", "emissive": "sRGB", "normal": "raw"}
    assert said("metallic_roughness", "sourceColorSpace") == "raw"
    assert {said("base_colour", side) for side in ("wrapS", "wrapT")} == {"repeat"}


def test_a_cut_out_has_its_threshold(tmp_path):
    write(Model(parts=(every_map(alpha_mode="MASK"),)), tmp_path)
    nodes = shaders(tmp_path / "model.usdz")
    assert nodes["surface"].GetInput("opacityThreshold").Get() == 0.5


def test_the_stage_stands_upright_in_metres_and_says_where_it_is_from(tmp_path):
    extras = {"seed": 7, "model": "triposr", "parameters": {"size": 1}, "none": None, "huge": 1 << 70}
    write(Model(parts=(textured_sphere(),)), tmp_path, extras=extras)
    stage = Usd.Stage.Open(str(tmp_path / "model.usdz"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert stage.GetDefaultPrim().GetDisplayName() == "vase"
    said = dict(stage.GetRootLayer().customLayerData)
    assert (said["generator"], said["seed"], said["model"]) == ("Pipeline3D", 7, "triposr")
    assert json.loads(said["parameters"]) == {"size": 1}
    assert said["none"] == "null"
    assert said["huge"] == str(1 << 70)


@pytest.mark.parametrize("text", ["\0\x1b[2J", "\udc80", '"/></x>', "x" * 300_000, "模型 🏺", ""])
def test_hostile_names_and_extras_do_no_harm(tmp_path, text):
    path = tmp_path / "model.usdz"
    report = write_usdz(build("box"), path, name=text, extras={text: text}, isolated=False)
    assert report.passed


def test_vertex_colours_are_shown_by_a_picture(tmp_path):
    report = write(Model(parts=(coloured_torus(),)), tmp_path)
    assert report.passed
    assert report.limitations == ()
    nodes = shaders(tmp_path / "model.usdz")
    assert source_of(nodes, "diffuseColor") == ("base_colour", "rgb")


def test_vertex_colours_over_a_texture_are_a_limitation_and_a_difference(tmp_path):
    sphere = textured_sphere()
    dark = np.full((len(sphere.vertices), 4), 40, np.uint8)
    report = write(Model(parts=(replace(sphere, colours=dark),)), tmp_path)
    assert report.problems == ()
    assert "not shown" in report.limitations[0]
    assert {each.what for each in report.differences} == {"colour"}


def test_parts_share_materials_and_pictures(tmp_path):
    assert write(several_parts(), tmp_path).passed
    stage = Usd.Stage.Open(str(tmp_path / "model.usdz"))
    types = [prim.GetTypeName() for prim in stage.Traverse()]
    assert (types.count("Mesh"), types.count("Material")) == (4, 3)
    with zipfile.ZipFile(tmp_path / "model.usdz") as package:
        assert len(package.namelist()) == 3


def test_equal_models_give_equal_bytes_in_whatever_process(tmp_path):
    model = Model(parts=(every_map(), coloured_torus()))
    for number in range(2):
        report = write_usdz(model, tmp_path / f"{number}.usdz", name="x", extras={"b": 1, "a": 2})
        assert report.passed
    write_usdz(model, tmp_path / "2.usdz", name="x", extras={"b": 1, "a": 2}, isolated=False)
    assert len({(tmp_path / f"{number}.usdz").read_bytes() for number in range(3)}) == 1


def test_a_texture_that_is_none_is_refused(tmp_path):
    broken = replace(textured_sphere(), texture=b"RIFF1234WEBPbroken", texture_mime_type=WEBP)
    with pytest.raises(BrokenModelOutput) as refused:
        write(Model(parts=(broken,)), tmp_path)
    assert refused.value.code == "broken_texture"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_usdz(build("box"), tmp_path / "absent" / "model.usdz", name="x")


def test_another_model_in_the_file_is_a_difference(tmp_path):
    write(Model(parts=(textured_sphere(),)), tmp_path)
    assert verify_file(tmp_path / "model.usdz", Model(parts=(textured_sphere(),))) == []
    found = {each.what for each in verify_file(tmp_path / "model.usdz", Model(parts=(box(),)))}
    assert {"faces", "bounds", "area"} <= found


def test_transforms_units_and_handedness_of_a_foreign_file_are_read(tmp_path):
    stage = Usd.Stage.CreateNew(str(tmp_path / "model.usdc"))
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    root = UsdGeom.Xform.Define(stage, "/Root")
    root.AddTranslateOp().Set((100, 0, 0))
    mesh = UsdGeom.Mesh.Define(stage, "/Root/Triangle")
    mesh.CreatePointsAttr([(0, 0, 0), (100, 0, 0), (0, 100, 0)])
    mesh.CreateFaceVertexCountsAttr([3])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2])
    mesh.CreateOrientationAttr(UsdGeom.Tokens.leftHanded)
    stage.Save()
    (part,) = read_usdz(tmp_path / "model.usdc", isolated=False).parts
    assert np.allclose(part.vertices, [(1, 0, 0), (2, 0, 0), (1, 1, 0)])
    assert part.faces.tolist() == [[2, 1, 0]]


def test_faces_of_more_corners_are_refused_when_read(tmp_path):
    stage = Usd.Stage.CreateNew(str(tmp_path / "model.usdc"))
    mesh = UsdGeom.Mesh.Define(stage, "/Square")
    mesh.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    stage.Save()
    with pytest.raises(BrokenModelOutput) as refused:
        read_usdz(tmp_path / "model.usdc", isolated=False)
    assert refused.value.code == "broken_usdz"


def test_a_plain_material_is_values_alone(tmp_path):
    part = replace(
        box(), material=Material(base_colour=(0.8, 0.2, 0.1, 0.5), metallic=1.0, alpha_mode="BLEND")
    )
    assert write(Model(parts=(part,)), tmp_path).passed
    nodes = shaders(tmp_path / "model.usdz")
    surface = nodes["surface"]
    assert np.allclose(surface.GetInput("diffuseColor").Get(), (0.8, 0.2, 0.1))
    assert surface.GetInput("opacity").Get() == 0.5
    assert surface.GetInput("metallic").Get() == 1.0
