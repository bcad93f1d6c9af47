"""What OpenUSD reads in a USDZ, as plain values: the counterpart of `usd_authoring`, for comparing.

Follows the file's own connections, not the writer's conventions: positions through the prim's
transform, the unit and the texture from whatever feeds `diffuseColor`. Child process: standard library
and pxr only.
"""

from __future__ import annotations

from typing import Any

MOST_PICTURE_BYTES = 256 << 20


def read_stage(path: str) -> tuple[dict[str, Any], list[bytes]]:
    """Every mesh with its blobs; raises RuntimeError where OpenUSD cannot open the file."""
    from pxr import Usd, UsdGeom

    stage = Usd.Stage.Open(path)
    blobs: list[bytes] = []
    meshes = [
        _read_mesh(UsdGeom.Mesh(prim), blobs)
        for prim in stage.Traverse()
        if prim.IsA(UsdGeom.Mesh) and UsdGeom.Imageable(prim).ComputeVisibility() != "invisible"
    ]
    return {
        "meshes": meshes,
        "metres_per_unit": UsdGeom.GetStageMetersPerUnit(stage),
        "up_axis": str(UsdGeom.GetStageUpAxis(stage)),
        "metadata": {key: str(value) for key, value in stage.GetRootLayer().customLayerData.items()},
    }, blobs


def _read_mesh(mesh: Any, blobs: list[bytes]) -> dict[str, Any]:
    from pxr import UsdGeom

    def keep(array: Any) -> int:
        blobs.append(bytes(memoryview(array)))
        return len(blobs) - 1

    counts = mesh.GetFaceVertexCountsAttr().Get()
    found: dict[str, Any] = {
        "path": str(mesh.GetPath()),
        "points": keep(mesh.GetPointsAttr().Get()),
        "indices": keep(mesh.GetFaceVertexIndicesAttr().Get()),
        "triangles_only": len(counts) == 0 or (min(counts) == 3 and max(counts) == 3),
        "transform": [list(row) for row in UsdGeom.Imageable(mesh).ComputeLocalToWorldTransform(0.0)],
        "left_handed": mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded,
    }
    for name in ("st", "displayColor"):
        primvar = UsdGeom.PrimvarsAPI(mesh).GetPrimvar(name)
        if primvar and primvar.HasValue():
            found[name] = {
                "values": keep(primvar.ComputeFlattened()),
                "interpolation": str(primvar.GetInterpolation()),
            }
    found["material"] = _read_material(mesh, blobs)
    return found


def _read_material(mesh: Any, blobs: list[bytes]) -> dict[str, Any] | None:
    """The base colour: a value, or a picture with its scale and wrapping."""
    from pxr import UsdShade

    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    if not material:
        return None
    surface, _, _ = material.ComputeSurfaceSource()
    diffuse = surface.GetInput("diffuseColor")
    if not diffuse:
        return {"colour": [0.18, 0.18, 0.18]}
    sources = diffuse.GetConnectedSources()[0]
    if not sources:
        return {"colour": list(diffuse.Get())}
    shader = UsdShade.Shader(sources[0].source.GetPrim())
    scale, wrap = shader.GetInput("scale"), shader.GetInput("wrapS")
    return {
        "picture": _read_picture(shader.GetInput("file").Get(), blobs),
        "scale": list(scale.Get()) if scale else [1.0, 1.0, 1.0, 1.0],
        "wrap": str(wrap.Get()) if wrap else "repeat",
    }


def _read_picture(asset: Any, blobs: list[bytes]) -> int | None:
    """The picture's bytes out of the package, by the path that OpenUSD resolved."""
    from pxr import Ar

    resolved = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(asset.resolvedPath)) if asset.resolvedPath else None
    if resolved is None or resolved.GetSize() > MOST_PICTURE_BYTES:
        return None
    blobs.append(bytes(resolved.GetBuffer()))
    return len(blobs) - 1
