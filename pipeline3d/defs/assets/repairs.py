"""The mesh made sound: repaired as far as that leaves its shape alone, with what was done in numbers."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.defs.assets.family import GLB_CONTENT_TYPE, model_asset, origin_of, scratch_file
from pipeline3d.defs.assets.meshes import DRAFT, mesh
from pipeline3d.defs.assets.sources import SOURCE, source_model
from pipeline3d.defs.delivering import delivery_of
from pipeline3d.geometry import glb, measuring, repairing
from pipeline3d.geometry.mesh import Model
from pipeline3d.values import Kind
from resources.request_run import RequestRun
from resources.run_guard import RunGuard
from resources.stage_files import LocalFile, StageFiles


@model_asset(
    deps=[mesh, source_model],
    kinds={"gltf"},
    description="The mesh repaired and measured. What it was made of is kept as it came.",
)
def repaired_mesh(
    context: dg.AssetExecutionContext, request_run: RequestRun, stage_files: StageFiles
) -> dg.MaterializeResult:
    """Repair; a mesh that is sound already goes on untouched."""
    with request_run.stage(context) as run:
        draft = fetch_unrepaired(run, stage_files).read_bytes()
        origin = origin_of(draft)
        repaired = mend(glb.decode_model(draft), delivery_of(run.job).repair)
        path = scratch_file(run, "repaired_mesh", "repaired.glb")
        path.write_bytes(glb.encode_model(repaired.model, name="repaired", extras=origin))
        numbers = describe(repaired)
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=GLB_CONTENT_TYPE, metadata=numbers),
            metadata={
                **{name: value for name, value in numbers.items() if not isinstance(value, list | dict)},
                "changes": dg.MetadataValue.json(numbers["changes"]),
                "unrepaired": dg.MetadataValue.json(numbers["unrepaired"]),
            },
        )


def fetch_unrepaired(run: RunGuard, stage_files: StageFiles) -> Path:
    """The mesh as it came into being: of the model, or of the file that is exported."""
    if run.job.kind is Kind.EXPORT_MODEL:
        return stage_files.fetch(run, "source_model", name=SOURCE)
    return stage_files.fetch(run, "mesh", name=DRAFT)


def mend(model: Model, level: str) -> repairing.Repaired:
    """The repair that a request asks for; `off` measures only."""
    if level == "off":
        facts = measuring.measure(model)
        return repairing.Repaired(model=model, changes=(), before=facts, after=facts, unrepaired=())
    repaired = repairing.repair(model, level="solid" if level == "solid" else "auto")
    return repairing.with_normals(repaired)


def describe(repaired: repairing.Repaired) -> dict[str, Any]:
    """A repair in numbers and sentences."""
    return {
        "changes": [asdict(change) for change in repaired.changes],
        "unrepaired": list(repaired.unrepaired),
        "faces_before": repaired.before.faces,
        "faces": repaired.after.faces,
        "watertight_before": repaired.before.watertight,
        "watertight": repaired.after.watertight,
    }
