"""The mesh of a request, whichever model makes it, with the checks that it must pass."""

from typing import Any

import dagster as dg

from pipeline3d.defs import engines
from pipeline3d.defs.assets.family import GLB_CONTENT_TYPE, model_asset, scratch_file
from pipeline3d.defs.assets.pictures import preprocessed_image
from pipeline3d.defs.assets.prompts import prompt
from pipeline3d.defs.assets.scenes import scene_code, source_scene
from pipeline3d.geometry import checks, glb, measuring
from pipeline3d.values import FailureReport
from resources.model_tools import ModelTools
from resources.request_run import RequestRun
from resources.stage_files import LocalFile, StageFiles

DRAFT = "draft.glb"
"""The mesh that goes on; further candidates lie beside it."""

CHECK_SPECS = [
    dg.AssetCheckSpec(
        name=check.name,
        asset="mesh",
        blocking=check.severity == "error",
        description=check.description,
    )
    for check in checks.MESH_CHECKS
]


@model_asset(
    deps=[preprocessed_image, scene_code, source_scene, prompt],
    kinds={"python", "gltf"},
    pool="generate",
    check_specs=CHECK_SPECS,
    description="The mesh that the model made, with its checks: nothing that fails them is delivered.",
)
def mesh(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    stage_files: StageFiles,
    model_tools: ModelTools,
) -> dg.MaterializeResult:
    """Generate the mesh, or several of which the best goes on, and check it."""
    with request_run.stage(context) as run:
        stage = engines.Stage(run=run, files=stage_files, tools=model_tools, name="mesh")
        made = engines.make_meshes(stage)
        for number, candidate in enumerate(made[1:], start=2):
            path = scratch_file(run, "mesh", f"candidate-{number}.glb")
            path.write_bytes(glb.encode_glb(candidate.mesh, name="candidate", extras=candidate.origin))
            stage_files.publish(
                run,
                "mesh",
                LocalFile(path=path, content_type=GLB_CONTENT_TYPE, metadata=dict(candidate.facts)),
            )
        best = made[0]
        found = checks.check_mesh(best.mesh)
        run.explain_rejection("mesh", explain_checks(found))
        facts = measuring.measure(best.mesh)
        path = scratch_file(run, "mesh", DRAFT)
        path.write_bytes(glb.encode_glb(best.mesh, name="draft", extras=best.origin))
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=GLB_CONTENT_TYPE),
            check_results=[as_check_result(check) for check in found],
            metadata={
                "vertices": facts.vertices,
                "faces": facts.faces,
                "watertight": facts.watertight,
                "volume": facts.volume,
                "candidates": len(made),
                **{name: best.origin[name] for name in ("engine", "engine_version", "seed")},
                **best.facts,
            },
        )


def explain_checks(found: list[checks.MeshCheck]) -> FailureReport:
    """What it means for the caller if one of the blocking checks has failed."""
    failed = [check for check in found if check.severity == "error" and not check.passed]
    told = "; ".join(f"{check.name} is {check.value}, allowed is {check.limit}" for check in failed)
    return FailureReport(
        code="mesh_rejected",
        message=f"The generated mesh did not pass its checks, so it is not delivered: {told}.",
        hint="Try another picture or text; the checks and their values are shown with the run.",
        stage="mesh",
    )


def as_check_result(check: checks.MeshCheck) -> dg.AssetCheckResult:
    """A library check as Dagster shows it."""
    severity = dg.AssetCheckSeverity.ERROR if check.severity == "error" else dg.AssetCheckSeverity.WARN
    metadata: dict[str, Any] = {"value": str(check.value), "limit": str(check.limit)}
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=check.passed,
        severity=severity,
        metadata=metadata,
        description=check.description,
    )
