"""`triposr`: a cut-out photo becomes a 3D model with the published TripoSR weights, in torch alone.

Importing this package imports neither torch nor scikit-image: the definitions load it, and only the
process that works on a request pays for them. The way is `load_model` -> `TripoSR.encode` -> `SceneCode`
(2 MB, an asset of its own) -> `extract` -> `bake`; everything after `encode` needs no weights and no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline3d.generation.triposr.config import ENGINE, ENGINE_VERSION
from pipeline3d.generation.triposr.directory import CHECKPOINT_SHA256, DirectoryFacts, check_directory
from pipeline3d.generation.triposr.installed import packages_needed
from pipeline3d.generation.triposr.meshes import BakedMesh, ExtractedMesh
from pipeline3d.generation.triposr.scene import SceneCode

if TYPE_CHECKING:
    from pipeline3d.generation.triposr.model import TripoSR

PRESETS: dict[str, int] = {"fast": 128, "balanced": 256, "quality": 384}
"""Samples along each side of the box that the surface is looked for in."""
STARTS: dict[str, int] = {"fast": 4, "balanced": 8, "quality": 4}
"""Every how manieth sample is looked at first: small parts that touch no other may be missed in between."""

__all__ = [
    "CHECKPOINT_SHA256",
    "ENGINE",
    "ENGINE_VERSION",
    "PRESETS",
    "STARTS",
    "BakedMesh",
    "DirectoryFacts",
    "ExtractedMesh",
    "SceneCode",
    "bake",
    "check_directory",
    "extract",
    "load_model",
]


def load_model(directory: Path, *, device: str = "auto") -> TripoSR:
    """The model of a directory with `config.yaml` and `model.ckpt`; see `model.load_model`."""
    with packages_needed():
        from pipeline3d.generation.triposr import model

    return model.load_model(directory, device=device)


def extract(
    scene: SceneCode,
    *,
    resolution: int,
    start: int = 8,
    smooth: bool = False,
    report: Callable[[float], None] | None = None,
) -> ExtractedMesh:
    """The surface of a scene, coloured at its vertices; see `extraction.extract`."""
    with packages_needed():
        from pipeline3d.generation.triposr import extraction

    return extraction.extract(scene, resolution=resolution, start=start, smooth=smooth, report=report)


def bake(
    scene: SceneCode, mesh: ExtractedMesh, *, texture_resolution: int, max_faces: int = 20_000
) -> BakedMesh:
    """A smaller mesh with a texture; see `baking.bake`."""
    with packages_needed():
        from pipeline3d.generation.triposr import baking

    return baking.bake(scene, mesh, texture_resolution=texture_resolution, max_faces=max_faces)
