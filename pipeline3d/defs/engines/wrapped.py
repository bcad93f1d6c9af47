"""Isolated models: the wrapper's program is asked, and what it made is believed only after a look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline3d.defs.engines.stage import KINDS_WITH_CUT_OUT, MadeMesh, Stage
from pipeline3d.errors import BrokenModelOutput, Pipeline3dError
from pipeline3d.generation.serving import (
    Done,
    Patience,
    Progress,
    WrapperRequest,
    run_request,
)
from pipeline3d.geometry.importing import import_model
from pipeline3d.values import ArtifactType, Kind
from resources.catalogue import shipped_model
from resources.stage_files import LocalFile

GLB = "model/gltf-binary"
LOAD_S = 20.0
LEFT_OUT = frozenset({"input_path", "size_m", "foreground_ratio", "background_removal", "quality", "seed"})
"""Parameters that are ours, or that were used before the wrapper is asked."""
ONE_SHOT = frozenset({"dreamfusion"})
"""Wrappers whose run is so long that nothing is won by keeping them."""
LONGEST_S = 8 * 3600.0
"""Of such a run: 10,000 steps take more than an hour on a small GPU."""
STALLED_S = 1800.0
"""Without a word for so long it hangs."""


def run_wrapper(stage: Stage) -> Sequence[MadeMesh]:
    """The one mesh that the wrapper makes of the cut-out or the prompt."""
    model = shipped_model(stage.job.model_id)
    wrapper = model.runner.wrapper
    assert wrapper is not None
    out = stage.run.scratch / "wrapper"
    out.mkdir(exist_ok=True)
    device = stage.tools.device()
    spec = stage.tools.programs.spec(
        wrapper,
        device=device,
        weights_bytes=model.vram_bytes,
        reload_s=LOAD_S,
        mode="one_shot" if wrapper in ONE_SHOT else "resident",
        patience=Patience(run_s=LONGEST_S, stalled_s=STALLED_S) if wrapper in ONE_SHOT else None,
    )
    with stage.tools.models.use(spec, device=device, run_id=stage.run.run_id) as use:
        try:
            done = run_request(use, _request(stage, out), report=_reporter(stage))
        finally:
            said = use.model.read_log() if use.was_warm else use.model.log.read(0)
            _keep_log(stage, wrapper, said)
        facts = {"warm": use.was_warm, **use.counts.as_metadata()}
    return [_read(stage, wrapper, model.version, done, facts)]


def _request(stage: Stage, out: Path) -> WrapperRequest:
    images = (stage.fetch("preprocessed_image"),) if stage.job.kind in KINDS_WITH_CUT_OUT else ()
    return WrapperRequest(
        id=f"{stage.job.job_id}:{stage.job.attempt}",
        images=images,
        prompt=stage.read_prompt() if stage.job.kind is Kind.TEXT_TO_3D else stage.job.prompt,
        params={name: value for name, value in stage.params.items() if name not in LEFT_OUT},
        seed=stage.params.get("seed"),
        output_dir=out,
    )


def _reporter(stage: Stage) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        stage.report(progress.fraction, progress.message)

    return report


def _read(stage: Stage, wrapper: str, version: str, done: Done, facts: Mapping[str, Any]) -> MadeMesh:
    made = next((output for output in done.outputs if output.content_type == GLB), None)
    if made is None:
        raise BrokenModelOutput(f"{wrapper} made no GLB.", code="empty_output")
    mesh = import_model(made.path.read_bytes())
    stage.publish(LocalFile(path=made.path, content_type=GLB, metadata={"made_by": wrapper}))
    return MadeMesh(
        mesh=mesh,
        engine=wrapper,
        engine_version=version,
        tier="model",
        seed=done.seed if done.seed is not None else stage.params.get("seed", 0),
        note=" ".join(done.notes) or f"Made by {wrapper} in its own environment.",
        facts={**facts, "wrapper_s": round(done.seconds, 3), "notes": " ".join(done.notes) or "none"},
    )


def _keep_log(stage: Stage, wrapper: str, said: bytes) -> None:
    """What the program wrote to its error output during the run; a failure to keep it is not the run's."""
    if not said:
        return
    path = stage.run.scratch / f"{wrapper}.log"
    path.write_bytes(said)
    with suppress(Pipeline3dError):
        stage.publish(LocalFile(path=path, content_type="text/plain; charset=utf-8", type=ArtifactType.LOG))
