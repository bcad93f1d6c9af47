"""Is a USDZ one that iPhones show? OpenUSD's validators, and ARKit's rules that they no longer hold.

OpenUSD 26 has no `ComplianceChecker(arkit=True)` any more; its validation framework judges packages,
shaders, bindings, references and metadata. What the ARKit profile of the old checker demanded beyond that
(https://github.com/PixarAnimationStudios/OpenUSD/blob/v24.11/pxr/usd/usdUtils/complianceChecker.py:
one .usdc layer, Y up, known prim types, known shaders, connections that lead somewhere) is checked here.
`stage_problems` runs in the child: standard library and pxr only at the top of this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline3d.geometry.formats.usdz_package import package_problems

PRIM_TYPES = frozenset(
    {"", "Scope", "Xform", "Camera", "Shader", "Material", "Mesh", "Sphere", "Cube", "Cylinder", "Cone"}
    | {"Capsule", "GeomSubset", "NodeGraph", "SkelRoot", "Skeleton", "SkelAnimation", "BlendShape"}
    | {"SpatialAudio"}
)
SHADERS = frozenset(
    {"UsdPreviewSurface", "UsdUVTexture", "UsdTransform2d"}
    | {f"UsdPrimvarReader_{kind}" for kind in ("float", "float2", "float3", "float4", "int", "string")}
    | {f"UsdPrimvarReader_{kind}" for kind in ("normal", "point", "vector", "matrix")}
)
CHILD_SECONDS, CHILD_BYTES = 60, 4 << 30


def check_usdz(
    path: Path, *, isolated: bool = True, seconds: int = CHILD_SECONDS, memory_bytes: int = CHILD_BYTES
) -> list[str]:
    """Everything that is wrong with the file, as sentences; empty for one that ARKit takes.

    OpenUSD is native and may crash on a damaged file, so it runs in a child of at most `seconds` and
    `memory_bytes`; a child that dies is a finding, too. A broken container is not shown to OpenUSD.
    """
    from pipeline3d.errors import BrokenModelOutput
    from pipeline3d.geometry.formats.usd_process import perform

    problems = package_problems(path)
    if problems:
        return problems
    request = {"steps": ["check"], "package": str(path.resolve())}
    try:
        answer, _ = perform(request, [], isolated=isolated, seconds=seconds, memory_bytes=memory_bytes)
    except BrokenModelOutput as error:
        return [error.message]
    return [str(problem) for problem in answer["problems"]]


def stage_problems(path: str) -> list[str]:
    """OpenUSD's validators and the ARKit rules over an existing package; raises where it cannot be opened."""
    from pxr import Usd, UsdValidation

    stage = Usd.Stage.Open(path)
    registry = UsdValidation.ValidationRegistry()
    context = UsdValidation.ValidationContext(registry.GetOrLoadAllValidators())
    problems = [
        f"{error.GetIdentifier()}: {error.GetMessage()}"
        for error in context.Validate(stage)
        if not error.HasNoError()
    ]
    return problems + _layer_problems(stage) + _prim_problems(stage)


def _layer_problems(stage: Any) -> list[str]:
    from pxr import UsdGeom

    problems = []
    if UsdGeom.GetStageUpAxis(stage) != UsdGeom.Tokens.y:
        problems.append("The up axis is not Y.")
    if not stage.GetDefaultPrim():
        problems.append("There is no default prim.")
    layers = [layer for layer in stage.GetUsedLayers() if not layer.anonymous]
    if len(layers) != 1:
        problems.append(f"It is composed of {len(layers)} layers; ARKit wants one.")
    if not any(prim.IsA(UsdGeom.Mesh) for prim in stage.Traverse()):
        problems.append("It has no mesh.")
    return problems


def _prim_problems(stage: Any) -> list[str]:
    from pxr import UsdGeom, UsdShade

    problems = []
    for prim in stage.TraverseAll():
        if prim.GetTypeName() not in PRIM_TYPES:
            problems.append(f"{prim.GetPath()} is a {prim.GetTypeName()}, which ARKit does not know.")
        if prim.IsA(UsdShade.Shader):
            problems += _shader_problems(UsdShade.Shader(prim))
        if prim.IsA(UsdGeom.Mesh):
            ok, reason = UsdGeom.Mesh.ValidateTopology(
                UsdGeom.Mesh(prim).GetFaceVertexIndicesAttr().Get(),
                UsdGeom.Mesh(prim).GetFaceVertexCountsAttr().Get(),
                len(UsdGeom.Mesh(prim).GetPointsAttr().Get()),
            )
            problems += [] if ok else [f"{prim.GetPath()}: {reason}"]
    return problems


def _shader_problems(shader: Any) -> list[str]:
    path, identifier = shader.GetPath(), shader.GetIdAttr().Get()
    if shader.GetImplementationSource() != "id" or identifier not in SHADERS:
        return [f"{path} is the shader {identifier!r}, which ARKit does not know."]
    problems = []
    for entry in shader.GetInputs():
        sources, invalid = entry.GetConnectedSources()
        if invalid or len(sources) > 1:
            problems.append(f"{entry.GetFullName()} of {path} is connected to nothing, or to several.")
    return problems
