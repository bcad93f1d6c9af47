"""USDZ for iPhones: written by OpenUSD in a child, checked, read back and compared, then put in its place."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.comparing import Difference, compare
from pipeline3d.geometry.formats.pictures import picture_type
from pipeline3d.geometry.formats.scene_description import describe_scene
from pipeline3d.geometry.formats.usd_process import (
    CHILD_BYTES,
    CHILD_SECONDS,
    UsdChild,
    perform,
    perform_here,
)
from pipeline3d.geometry.formats.usdz_package import package_problems
from pipeline3d.geometry.mesh import Material, Model, TexturedMesh

LAYER = "model.usdc"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsdzReport:
    """What is wrong with the written file, how it differs from the model, what viewers will not show."""

    problems: tuple[str, ...]
    differences: tuple[Difference, ...]
    limitations: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Valid for ARKit, and the same model."""
        return not self.problems and not self.differences


def write_usdz(
    model: Model,
    path: Path,
    *,
    name: str,
    extras: dict[str, Any] | None = None,
    isolated: bool = True,
    seconds: int = CHILD_SECONDS,
    memory_bytes: int = CHILD_BYTES,
) -> UsdzReport:
    """Write the file, whole or not at all, and report on what was really written.

    `extras` goes into the layer's customLayerData. One child process writes, validates and reads back;
    `isolated=False` does it in this process. Raises BrokenModelOutput where the model is unusable or
    OpenUSD refuses it, OSError where the disk does.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".usdz-") as folder:
        written = Path(folder) / "model.usdz"
        request: dict[str, Any] = {
            "steps": ["write", "check", "read"],
            "layer": str((Path(folder) / LAYER).resolve()),
            "package": str(written.resolve()),
        }
        if isolated:
            with UsdChild(seconds=seconds, memory_bytes=memory_bytes) as child:
                description = describe_scene(model, name=name, extras=extras)
                answer, blobs = child.ask(request | {"scene": description.scene}, description.blobs)
        else:
            description = describe_scene(model, name=name, extras=extras)
            answer, blobs = perform_here(request | {"scene": description.scene}, description.blobs)
        report = UsdzReport(
            problems=(*package_problems(written), *answer["problems"]),
            differences=tuple(compare(model, as_model(answer["stage"], blobs))),
            limitations=tuple(dict.fromkeys(description.limitations)),
        )
        os.replace(written, path)
    return report


def read_usdz(
    path: Path, *, isolated: bool = True, seconds: int = CHILD_SECONDS, memory_bytes: int = CHILD_BYTES
) -> Model:
    """The surface that OpenUSD finds: positions in metres, base colours, UVs as glTF counts them."""
    request = {"steps": ["read"], "package": str(path.resolve())}
    answer, blobs = perform(request, [], isolated=isolated, seconds=seconds, memory_bytes=memory_bytes)
    return as_model(answer["stage"], blobs)


def as_model(stage: dict[str, Any], blobs: list[bytes]) -> Model:
    """What `usd_reading.read_stage` read, as a model. Raises BrokenModelOutput where it is no triangles."""
    try:
        parts = tuple(_as_part(mesh, blobs, stage["metres_per_unit"]) for mesh in stage["meshes"])
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise BrokenModelOutput(f"The USDZ cannot be read back: {error}.", code="broken_usdz") from error
    if not parts:
        raise BrokenModelOutput("The USDZ has no mesh.", code="empty_mesh")
    return Model(parts=parts)


def _as_part(mesh: dict[str, Any], blobs: list[bytes], metres_per_unit: float) -> TexturedMesh:
    if not mesh["triangles_only"]:
        raise ValueError("it has faces that are no triangles")
    points = np.frombuffer(blobs[mesh["points"]], np.float32).reshape(-1, 3)
    faces = np.frombuffer(blobs[mesh["indices"]], np.int32).reshape(-1, 3)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(points)):
        raise ValueError("a face names a vertex that does not exist")
    matrix = np.array(mesh["transform"])
    if not np.array_equal(matrix, np.eye(4)):
        points = (points @ matrix[:3, :3] + matrix[3, :3]).astype(np.float32)
    if metres_per_unit != 1.0:
        points = (points * metres_per_unit).astype(np.float32)
    faces = faces[:, ::-1] if mesh["left_handed"] else faces
    points, faces, uvs = _with_coordinates(mesh, blobs, points, faces)
    return _with_colour(TexturedMesh(vertices=points, faces=faces, uvs=uvs), mesh, blobs)


def _with_coordinates(
    mesh: dict[str, Any], blobs: list[bytes], points: Any, faces: Any
) -> tuple[Any, Any, Any]:
    """UVs for each vertex; where the file has them for each corner, the corners become the vertices."""
    if "st" not in mesh:
        return points, faces, None
    uvs = np.frombuffer(blobs[mesh["st"]["values"]], np.float32).reshape(-1, 2) * (1, -1) + (0, 1)
    uvs = uvs.astype(np.float32)
    if mesh["st"]["interpolation"] == "faceVarying":
        corners = faces.reshape(-1)
        if len(uvs) != len(corners):
            raise ValueError("there is not one texture coordinate for each corner")
        return points[corners], np.arange(len(corners), dtype=np.int32).reshape(-1, 3), uvs
    if len(uvs) != len(points):
        raise ValueError("there is not one texture coordinate for each point")
    return points, faces, uvs


def _with_colour(part: TexturedMesh, mesh: dict[str, Any], blobs: list[bytes]) -> TexturedMesh:
    """What Quick Look would show: the material's base colour, never displayColor."""
    material = mesh["material"]
    if material is None:
        return part
    picture = material.get("picture")
    scale = material.get("scale") or [*material["colour"], 1.0]
    texture = None if picture is None else blobs[picture]
    found = Material(base_colour=tuple(scale), wrap=material.get("wrap", "clamp"))
    return TexturedMesh(
        vertices=part.vertices,
        faces=part.faces,
        uvs=part.uvs,
        texture=texture,
        texture_mime_type=picture_type(texture or b"") or "image/png",
        material=found,
    )
