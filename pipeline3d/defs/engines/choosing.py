"""From a request to its meshes: the engine of its model, once for each candidate, the best one first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline3d.defs.engines.inflating import inflate_photo
from pipeline3d.defs.engines.scenes import read_scenes
from pipeline3d.defs.engines.sculpting import sculpt_prompt
from pipeline3d.defs.engines.stage import KINDS_WITH_CUT_OUT, MadeMesh, Stage
from pipeline3d.defs.engines.wrapped import run_wrapper
from pipeline3d.errors import PermanentFailure
from pipeline3d.geometry.silhouettes import agreement
from resources.catalogue import engine_of

MAKERS: dict[str, Callable[[Stage], Sequence[MadeMesh]]] = {
    "inflation": inflate_photo,
    "procedural": sculpt_prompt,
    "triposr": read_scenes,
    "wrapper": run_wrapper,
}


def make_meshes(stage: Stage) -> list[MadeMesh]:
    """The candidates that the request's model makes; the first one is delivered, all are kept."""
    engine = engine_of(stage.job.model_id)
    if engine not in MAKERS:
        raise PermanentFailure(f"{stage.job.model_id} makes no mesh.", code="model_not_ready")
    made = list(MAKERS[engine](stage))
    if len(made) < 2 or stage.job.kind not in KINDS_WITH_CUT_OUT:
        return made
    return rank_by_silhouette(stage, made)


def rank_by_silhouette(stage: Stage, made: Sequence[MadeMesh]) -> list[MadeMesh]:
    """The candidates by how well their outline, seen from the front, agrees with the photo's."""
    alpha = stage.cut_out()[:, :, 3]
    scored = [(agreement(candidate.mesh, alpha), candidate) for candidate in made]
    scored.sort(key=lambda pair: -pair[0])
    return [
        replace(candidate, facts={**candidate.facts, "silhouette_agreement": round(score, 4)})
        for score, candidate in scored
    ]
