"""TripoSR: from cut-outs to scene codes with the weights, from scene codes to meshes without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline3d.defs.engines.stage import MadeMesh, Stage
from pipeline3d.generation.serving import InProcessModel, ModelSpec
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.imaging import framing
from pipeline3d.values import Kind
from resources.catalogue import shipped_model
from resources.gpu import Device

if TYPE_CHECKING:
    from pipeline3d.generation.triposr import SceneCode
    from pipeline3d.generation.triposr.model import TripoSR

LOAD_S = 5.0
JITTER = 0.08
"""How much larger or smaller a further candidate stands in its frame, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedScenes:
    """A scene code for each candidate, and what the run shows of their making."""

    scenes: Sequence[SceneCode]
    facts: dict[str, Any]


def encode_scenes(stage: Stage) -> EncodedScenes:
    """Run the transformer over the cut-out, and over it framed otherwise for each further candidate."""
    cut_out = stage.cut_out()
    pictures = frame_candidates(cut_out, stage.params["seed"], int(stage.params.get("num_candidates", 1)))
    device = stage.tools.device()
    spec = _model_spec(stage, device)
    with stage.tools.models.use(spec, device=device, run_id=stage.run.run_id) as use:
        stage.report(0.1, "model is warm" if use.was_warm else "model is loaded")
        scenes = use.run(
            lambda model, divisor: model.encode(pictures, batch_size=max(1, len(pictures) // divisor))
        )
        facts = {
            "device": str(use.model.device),
            "warm": use.was_warm,
            "candidates": len(scenes),
            **use.counts.as_metadata(),
        }
    return EncodedScenes(scenes=scenes, facts=facts)


def frame_candidates(cut_out: npt.NDArray[np.uint8], seed: int, count: int) -> list[npt.NDArray[np.uint8]]:
    """The cut-out as it is, then as often as asked a little larger or smaller in its frame, by the seed."""
    draw = np.random.default_rng(seed)
    return [
        cut_out if number == 0 else framing.rescale_frame(cut_out, 1.0 + draw.uniform(-JITTER, JITTER))
        for number in range(count)
    ]


def read_scenes(stage: Stage) -> Sequence[MadeMesh]:
    """The meshes of all scene codes of the request."""
    from pipeline3d.generation.triposr import SceneCode

    paths = _scene_files(stage)
    return [_read_scene(stage, SceneCode.load(path), number, len(paths)) for number, path in enumerate(paths)]


def _scene_files(stage: Stage) -> list[Path]:
    if stage.job.kind is Kind.SCENE_TO_3D:
        return [stage.fetch("source_scene")]
    count = int(stage.params.get("num_candidates", 1))
    return [stage.fetch("scene_code", f"scene-{number}.safetensors") for number in range(1, count + 1)]


def _read_scene(stage: Stage, scene: SceneCode, number: int, count: int) -> MadeMesh:
    from pipeline3d.generation import triposr

    quality, cells = stage.params["quality"], int(stage.params["mc_resolution"])

    def report(fraction: float) -> None:
        stage.report((number + 0.8 * fraction) / count, f"{cells} cells a side")

    surface = triposr.extract(scene, resolution=cells, start=triposr.STARTS[quality], report=report)
    if stage.params["texture"] == "baked":
        stage.report((number + 0.9) / count, "texture")
        baked = triposr.bake(scene, surface, texture_resolution=int(stage.params["texture_resolution"]))
        mesh = TexturedMesh(
            vertices=baked.vertices,
            faces=baked.faces,
            normals=baked.normals,
            uvs=baked.uvs,
            texture=baked.texture,
            texture_mime_type=baked.texture_mime_type,
        )
    else:
        mesh = TexturedMesh(
            vertices=surface.vertices, faces=surface.faces, normals=surface.normals, colours=surface.colours
        )
    return MadeMesh(
        mesh=mesh,
        engine=triposr.ENGINE,
        engine_version=triposr.ENGINE_VERSION,
        tier="model",
        seed=stage.params["seed"],
        note="Reconstructed by TripoSR; what the photo does not show is predicted.",
        facts={"cells": cells, "framing": number + 1},
    )


def _model_spec(stage: Stage, device: Device) -> ModelSpec[TripoSR]:
    model = shipped_model(stage.job.model_id)
    assert model.weights is not None
    directory = stage.tools.places.directory / model.weights.directory

    def load() -> TripoSR:
        from pipeline3d.generation import triposr

        return triposr.load_model(directory, device=device.local)

    return ModelSpec(
        key=f"triposr:{directory}@{device.name}",
        open=lambda: InProcessModel(load),
        weights_bytes=CHECKPOINT_BYTES,
        working_bytes=max(0, model.vram_bytes - CHECKPOINT_BYTES),
        reload_s=LOAD_S,
    )


CHECKPOINT_BYTES = 1_700_000_000
"""The published checkpoint in 32-bit floats."""
