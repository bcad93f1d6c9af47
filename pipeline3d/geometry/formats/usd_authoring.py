"""A description in plain values → a USD crate file, as Quick Look reads it.

One Xform as default prim with a mesh for each part and a Materials scope of UsdPreviewSurface networks
(https://openusd.org/release/spec_usdpreviewsurface.html). Y up, one unit is a metre. Runs in the child
process: standard library and pxr only, because NumPy would double the time that the child takes to start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ROOT = "Model"
UNCHANGED = (1.0, 1.0, 1.0, 1.0)
DECODED_NORMAL_SCALE, DECODED_NORMAL_BIAS = (2.0, 2.0, 2.0, 1.0), (-1.0, -1.0, -1.0, 0.0)
"""From the 0 to 1 of a picture to the -1 to 1 of a direction."""


def author_layer(scene: dict[str, Any], blobs: Sequence[bytes], path: str) -> None:
    """Write the crate file. `scene` is what `usdz.describe_scene` makes; its numbers name blobs."""
    from pxr import Sdf, Usd, UsdGeom, UsdShade

    layer = Sdf.Layer.CreateNew(path)
    stage = Usd.Stage.Open(layer)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    layer.customLayerData = scene["metadata"]
    root = UsdGeom.Xform.Define(stage, f"/{ROOT}")
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root).SetKind("component")
    root.GetPrim().SetDisplayName(scene["display_name"])
    UsdGeom.Scope.Define(stage, f"/{ROOT}/Materials")
    materials = [
        _author_material(stage, f"/{ROOT}/Materials/material_{index}", description)
        for index, description in enumerate(scene["materials"])
    ]
    for index, description in enumerate(scene["meshes"]):
        mesh = _author_mesh(stage, f"/{ROOT}/part_{index}", description, blobs)
        binding = UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim())
        binding.Bind(materials[description["material"]])
    layer.Save()


def _author_mesh(stage: Any, path: str, description: dict[str, Any], blobs: Sequence[bytes]) -> Any:
    from pxr import Sdf, UsdGeom, Vt

    mesh = UsdGeom.Mesh.Define(stage, path)
    indices = memoryview(blobs[description["indices"]]).cast("i")
    mesh.CreatePointsAttr(Vt.Vec3fArrayFromBuffer(_rows(blobs[description["points"]], 3)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArrayFromBuffer(indices))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray(len(indices) // 3, 3))
    mesh.CreateExtentAttr(description["extent"])
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateOrientationAttr(UsdGeom.Tokens.rightHanded)
    mesh.CreateDoubleSidedAttr(description["double_sided"])
    if description["normals"] is not None:
        mesh.CreateNormalsAttr(Vt.Vec3fArrayFromBuffer(_rows(blobs[description["normals"]], 3)))
        mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    primvars = UsdGeom.PrimvarsAPI(mesh)
    if description["st"] is not None:
        coordinates = primvars.CreatePrimvar(
            "st", Sdf.ValueTypeNames.TexCoord2fArray, description["st_interpolation"]
        )
        coordinates.Set(Vt.Vec2fArrayFromBuffer(_rows(blobs[description["st"]], 2)))
    if description["colours"] is not None:
        colours = primvars.CreatePrimvar(
            "displayColor", Sdf.ValueTypeNames.Color3fArray, UsdGeom.Tokens.vertex
        )
        colours.Set(Vt.Vec3fArrayFromBuffer(_rows(blobs[description["colours"]], 3)))
    return mesh


def _rows(blob: bytes, width: int) -> Any:
    flat = memoryview(blob)
    return flat.cast("f", shape=[len(flat) // (4 * width), width])


def _author_material(stage: Any, path: str, description: dict[str, Any]) -> Any:
    """Every input of the surface is a value, or a channel of a picture."""
    from pxr import Sdf, UsdShade

    material = UsdShade.Material.Define(stage, path)
    if description["display_name"]:
        material.GetPrim().SetDisplayName(description["display_name"])
    surface = UsdShade.Shader.Define(stage, f"{path}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    outputs = _author_pictures(stage, path, description["pictures"])
    for name, kind, value in description["values"]:
        entry = surface.CreateInput(name, getattr(Sdf.ValueTypeNames, kind))
        entry.Set(tuple(value) if isinstance(value, list) else value)
    for name, kind, picture, channel in description["connections"]:
        entry = surface.CreateInput(name, getattr(Sdf.ValueTypeNames, kind))
        shader = outputs[picture]
        shader.CreateOutput(
            channel, Sdf.ValueTypeNames.Float3 if channel == "rgb" else Sdf.ValueTypeNames.Float
        )
        entry.ConnectToSource(shader.ConnectableAPI(), channel)
    return material


def _author_pictures(stage: Any, path: str, pictures: Sequence[dict[str, Any]]) -> list[Any]:
    from pxr import Gf, Sdf, UsdShade

    if not pictures:
        return []
    reader = UsdShade.Shader.Define(stage, f"{path}/coordinates")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    shaders = []
    for picture in pictures:
        shader = UsdShade.Shader.Define(stage, f"{path}/{picture['name']}")
        shader.CreateIdAttr("UsdUVTexture")
        shader.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(picture["file"]))
        shader.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set(picture["colour_space"])
        for side in ("wrapS", "wrapT"):
            shader.CreateInput(side, Sdf.ValueTypeNames.Token).Set(picture["wrap"])
        if tuple(picture["scale"]) != UNCHANGED:
            shader.CreateInput("scale", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(*picture["scale"]))
        if any(picture["bias"]):
            shader.CreateInput("bias", Sdf.ValueTypeNames.Float4).Set(Gf.Vec4f(*picture["bias"]))
        shader.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
        shaders.append(shader)
    return shaders
