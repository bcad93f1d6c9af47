"""The model that a request starts from, where nothing is generated."""

from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg

from pipeline3d.defs.assets.family import GLB_CONTENT_TYPE, model_asset, origin_of, scratch_file
from pipeline3d.geometry import glb, import_child, incoming, measuring
from pipeline3d.geometry.mesh import Model
from resources.object_store import ObjectStore
from resources.request_run import RequestRun
from resources.run_guard import RunGuard
from resources.stage_files import LocalFile, StageFiles

SOURCE, MODEL = "source.glb", "model.glb"
KEPT = ("engine", "engine_version", "tier", "seed", "note", "licence")
"""What an earlier request's file says that is true of the export too."""
SELF_DESCRIBING = ("glb", "gltf", "3mf")
"""Formats that say themselves what a unit is and which axis points up."""


@model_asset(kinds={"gltf"}, description="The model as it came: of an earlier request, or an uploaded file.")
def source_model(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    object_store: ObjectStore,
    stage_files: StageFiles,
) -> dg.MaterializeResult:
    """Bring the model; a stranger's file is read in a process of its own, which may crash."""
    with request_run.stage(context) as run:
        origin: dict[str, Any]
        if "source_job_id" in run.job.params:
            model, origin = _fetch_earlier(run, stage_files)
        else:
            model, origin = _import_upload(run, object_store)
        facts = measuring.measure(model)
        path = scratch_file(run, "source_model", SOURCE)
        path.write_bytes(glb.encode_model(model, name="source", extras=origin))
        numbers = {"parts": len(model.parts), "vertices": facts.vertices, "faces": facts.faces}
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=GLB_CONTENT_TYPE, metadata={**numbers, **origin}),
            metadata={**numbers, **origin, "parameters": dg.MetadataValue.json(run.job.shown_params)},
        )


def _fetch_earlier(run: RunGuard, stage_files: StageFiles) -> tuple[Model, dict[str, Any]]:
    earlier = UUID(str(run.job.params["source_job_id"]))
    data = stage_files.fetch(run, "glb_export", name=MODEL, of_job=earlier).read_bytes()
    origin = origin_of(data)
    kept = {name: origin[name] for name in KEPT if name in origin}
    return glb.decode_model(data), {**kept, "source_request": str(earlier)}


def _import_upload(run: RunGuard, object_store: ObjectStore) -> tuple[Model, dict[str, Any]]:
    key = str(run.job.params["input_path"])
    path = scratch_file(run, "source_model", Path(key).name)
    sha256 = object_store.fetch_input(key, path)
    run.note_source("upload/input", sha256)
    read = import_child.read_in_child(path)
    model = read.model
    if read.format not in SELF_DESCRIBING:
        model = incoming.as_metres_y_up(
            model,
            unit=run.job.params.get("source_unit", "m"),
            up_axis=run.job.params.get("source_up_axis", "y"),
        )
    told = " ".join([f"Uploaded as {read.format.upper()}; nothing was generated.", *read.notes])
    return model, {
        "engine": "import",
        "engine_version": "1.0",
        "tier": "upload",
        "note": told,
        "source_sha256": sha256,
    }
