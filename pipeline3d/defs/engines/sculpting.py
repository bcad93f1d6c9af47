"""Procedural shapes: the words of a prompt that are known become a body, and it says which were not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline3d.defs.engines.stage import MadeMesh, Stage
from pipeline3d.geometry.mesh import TexturedMesh


def sculpt_prompt(stage: Stage) -> Sequence[MadeMesh]:
    """As many as asked for, each by a seed of its own."""
    count = int(stage.params.get("num_candidates", 1))
    text = stage.read_prompt()
    made = []
    for number in range(count):
        stage.report(number / count, f"candidate {number + 1} of {count}" if count > 1 else "mesh")
        made.append(_sculpt(text, stage.params["quality"], stage.params["seed"] + number))
    return made


def _sculpt(text: str, quality: Any, seed: int) -> MadeMesh:
    from pipeline3d.generation import procedural

    shape = procedural.sculpt(text, quality=quality, seed=seed)
    understood = ", ".join(shape.matched) or "nothing"
    return MadeMesh(
        mesh=TexturedMesh(
            vertices=shape.vertices, faces=shape.faces, normals=shape.normals, colours=shape.colours
        ),
        engine=procedural.ENGINE,
        engine_version=procedural.ENGINE_VERSION,
        tier="embedded",
        seed=seed,
        note=f"Made by fixed rules, without a neural network; understood: {understood}.",
        facts={
            "method": shape.method,
            "matched_words": ", ".join(shape.matched) or "none",
            "unmatched_words": ", ".join(shape.unmatched) or "none",
            "notes": " ".join(shape.notes) or "none",
        },
    )
