"""Scene codes: what TripoSR sees in a photo, from which meshes of any resolution are read without it."""

from uuid import UUID

import dagster as dg

from pipeline3d.defs import engines
from pipeline3d.defs.assets.family import model_asset, scratch_file
from pipeline3d.defs.assets.pictures import preprocessed_image
from resources.model_tools import ModelTools
from resources.request_run import RequestRun
from resources.stage_files import LocalFile, StageFiles

SCENE_CONTENT_TYPE = "application/vnd.safetensors"


@model_asset(
    deps=[preprocessed_image],
    kinds={"pytorch"},
    pool="gpu",
    description="What the model sees in the photo, in 2 MB: meshes of any resolution are read from it.",
)
def scene_code(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    stage_files: StageFiles,
    model_tools: ModelTools,
) -> dg.MaterializeResult:
    """Run the transformer; a candidate more for each further framing of the photo."""
    with request_run.stage(context) as run:
        stage = engines.Stage(run=run, files=stage_files, tools=model_tools, name="scene_code")
        encoded = engines.encode_scenes(stage)
        for number, scene in enumerate(encoded.scenes[1:], start=2):
            path = scratch_file(run, "scene_code", f"scene-{number}.safetensors")
            scene.save(path)
            stage_files.publish(run, "scene_code", LocalFile(path=path, content_type=SCENE_CONTENT_TYPE))
        path = scratch_file(run, "scene_code", "scene-1.safetensors")
        encoded.scenes[0].save(path)
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=SCENE_CONTENT_TYPE), metadata=encoded.facts
        )


@model_asset(kinds={"pytorch"}, description="The scene code that an earlier request of the same user made.")
def source_scene(
    context: dg.AssetExecutionContext, request_run: RequestRun, stage_files: StageFiles
) -> dg.MaterializeResult:
    """Bring the other request's scene code; the API made sure that it is the caller's."""
    with request_run.stage(context) as run:
        origin = UUID(str(run.job.params["source_job_id"]))
        found = stage_files.fetch(run, "scene_code", name="scene-1.safetensors", of_job=origin)
        path = scratch_file(run, "source_scene", found.name)
        path.write_bytes(found.read_bytes())
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=SCENE_CONTENT_TYPE),
            metadata={"source_request": str(origin), "model": run.job.model_id},
        )
