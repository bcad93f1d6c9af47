"""A USDZ that ARKit would not take is found out, and one that crashes the reader harms nobody."""

from __future__ import annotations

import zipfile

import pytest
from pxr import Sdf, Usd, UsdGeom, UsdLux, UsdShade

from pipeline3d.geometry.formats.usdz import write_usdz
from pipeline3d.geometry.formats.usdz_package import package_problems, write_package
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.usd_checks import check_usdz
from pipeline3d_tests.awkward_meshes import textured_sphere


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The path of a valid file."""
    path = tmp_path_factory.mktemp("usdz") / "good.usdz"
    write_usdz(Model(parts=(textured_sphere(),)), path, name="ball", isolated=False)
    return path


def entries(path) -> list[tuple[str, bytes]]:
    """Names and content."""
    with zipfile.ZipFile(path) as package:
        return [(name, package.read(name)) for name in package.namelist()]


def changed(good, tmp_path, change):
    """The good file with its stage changed."""
    (tmp_path / "model.usdc").write_bytes(entries(good)[0][1])
    stage = Usd.Stage.Open(str(tmp_path / "model.usdc"))
    change(stage)
    stage.Save()
    path = tmp_path / "changed.usdz"
    write_package(path, [("model.usdc", (tmp_path / "model.usdc").read_bytes()), *entries(good)[1:]])
    return path


def test_a_good_file_has_no_problems_in_a_child_and_here(good):
    assert check_usdz(good) == []
    assert check_usdz(good, isolated=False) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda stage: UsdGeom.SetStageUpAxis(stage, "Z"), "up axis"),
        (lambda stage: stage.ClearDefaultPrim(), "defaultPrim"),
        (lambda stage: stage.ClearMetadata("metersPerUnit"), "metersPerUnit"),
        (lambda stage: UsdLux.SphereLight.Define(stage, "/Model/lamp"), "SphereLight"),
        (lambda stage: stage.RemovePrim("/Model/part_0"), "no mesh"),
        (lambda stage: stage.RemovePrim("/Model/Materials/material_0/base_colour"), "connected"),
        (
            lambda stage: UsdShade.Shader(
                stage.GetPrimAtPath("/Model/Materials/material_0/surface")
            ).SetShaderId("ND_standard_surface_surfaceshader"),
            "does not know",
        ),
        (
            lambda stage: (
                UsdShade.Shader(stage.GetPrimAtPath("/Model/Materials/material_0/base_colour"))
                .GetInput("file")
                .Set(Sdf.AssetPath("textures/absent.png"))
            ),
            "absent.png",
        ),
        (
            lambda stage: stage.GetPrimAtPath("/Model/part_0").RemoveAppliedSchema("MaterialBindingAPI"),
            "MaterialBindingAPI",
        ),
        (
            lambda stage: UsdGeom.Mesh.Get(stage, "/Model/part_0").GetFaceVertexCountsAttr().Set([3, 3]),
            "part_0",
        ),
        (lambda stage: stage.GetPrimAtPath("/Model").GetReferences().AddReference("./other.usda"), "other"),
    ],
)
def test_what_arkit_does_not_take_is_found(good, tmp_path, change, word):
    problems = check_usdz(changed(good, tmp_path, change), isolated=False)
    assert any(word in problem for problem in problems), problems


def _write_zip(path, content, method):
    with zipfile.ZipFile(path, "w", method) as package:
        for name, data in content:
            package.writestr(name, data)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path, parts: _write_zip(path, parts, zipfile.ZIP_DEFLATED), "compressed"),
        (lambda path, parts: _write_zip(path, parts, zipfile.ZIP_STORED), "multiple of 64"),
        (lambda path, parts: write_package(path, parts[::-1]), "first file"),
        (lambda path, parts: write_package(path, [*parts, ("notes.txt", b"hello")]), "type"),
        (lambda path, parts: write_package(path, [*parts, ("textures/a.webp", b"RIFF")]), "type"),
        (lambda path, parts: write_package(path, [*parts, ("../a.png", b"\x89PNG\r\n\x1a\n")]), "outside"),
        (lambda path, parts: write_package(path, [*parts, ("a.png", b"GIF89a")]), "not what its name"),
        (lambda path, parts: write_package(path, [("model.usdc", b"#usda 1.0"), *parts[1:]]), "not what"),
        (lambda path, parts: path.write_bytes(b"glTF\2\0\0\0"), "ZIP"),
        (lambda path, parts: path.write_bytes(b""), "ZIP"),
        (lambda path, parts: write_package(path, []), "empty"),
        (lambda path, parts: None, "ZIP"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_container_that_is_no_usdz_is_found_without_openusd(good, tmp_path, make, word):
    path = tmp_path / "model.usdz"
    make(path, entries(good))
    assert any(word in problem for problem in package_problems(path))
    assert check_usdz(path) == package_problems(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.98])
def test_a_damaged_layer_is_a_finding_and_no_crash_of_this_process(good, tmp_path, keep):
    (name, layer), *rest = entries(good)
    path = tmp_path / "damaged.usdz"
    write_package(path, [(name, layer[: int(len(layer) * keep)] + bytes(64)), *rest])
    assert check_usdz(path)


def test_a_child_without_enough_memory_is_a_finding(good):
    (problem,) = check_usdz(good, memory_bytes=48 << 20)
    assert "gave no answer" in problem


def test_a_child_without_time_is_a_finding(good):
    (problem,) = check_usdz(good, seconds=0)
    assert "gave no answer" in problem
