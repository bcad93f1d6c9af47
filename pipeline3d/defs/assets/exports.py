"""From the mesh to what the caller gets: a sized GLB, its thumbnail, and the end of the request."""

from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.defs.assets.family import GLB_CONTENT_TYPE, model_asset, scratch_file
from pipeline3d.geometry import glb, measuring, pose, rendering
from pipeline3d.imaging import framing
from pipeline3d.values import ArtifactType, JobInput
from resources.preview_links import PreviewLinks
from resources.request_run import RequestRun
from resources.stage_files import LocalFile


@model_asset(kinds={"gltf"}, description="The delivered model: sized, on the ground plane, with its origin.")
def glb_export(
    context: dg.AssetExecutionContext, request_run: RequestRun, mesh: Path
) -> dg.MaterializeResult:
    """Scale to metres and pack as GLB; read it back before it is published."""
    with request_run.stage(context) as run:
        draft = mesh.read_bytes()
        origin = glb.read_document(draft)["asset"].get("extras", {})
        sized = pose.fit_to_size(glb.decode_glb(draft), size_m=run.job.params["size_m"])
        data = glb.encode_glb(sized, name="model", extras=provenance(run.job, origin))
        facts = measuring.measure(glb.decode_glb(data))
        path = scratch_file(run, "glb_export", "model.glb")
        path.write_bytes(data)
        numbers: dict[str, Any] = {
            "vertices": facts.vertices,
            "faces": facts.faces,
            "watertight": facts.watertight,
            "extents_m": [round(extent, 4) for extent in facts.extents],
        }
        return dg.MaterializeResult(
            value=LocalFile(
                path=path,
                content_type=GLB_CONTENT_TYPE,
                type=ArtifactType.OUTPUT_MODEL,
                metadata={**numbers, "made_by": origin},
            ),
            metadata={**numbers, "extents_m": dg.MetadataValue.json(numbers["extents_m"])},
        )


@model_asset(kinds={"image"}, description="A thumbnail of the delivered model.")
def model_preview(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    preview_links: PreviewLinks,
    glb_export: Path,
) -> dg.MaterializeResult:
    """Render the model without a GPU."""
    with request_run.stage(context) as run:
        picture = rendering.render_thumbnail(glb.decode_glb(glb_export.read_bytes()), size_px=512)
        path = scratch_file(run, "model_preview", "thumbnail.png")
        path.write_bytes(framing.encode_png(picture))
        link = preview_links.preview_url(run.job.job_id, "model_preview", "thumbnail.png")
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type="image/png", type=ArtifactType.PREVIEW),
            metadata={
                "preview": dg.MetadataValue.md(f"![preview]({link})"),
                "width_px": int(picture.shape[1]),
                "height_px": int(picture.shape[0]),
            },
        )


@model_asset(
    deps=[glb_export, model_preview],
    kinds={"postgres"},
    dagster_type=dg.Nothing,
    description="The end of the request: all its files are published and its caller can fetch them.",
)
def delivery(context: dg.AssetExecutionContext, request_run: RequestRun) -> dg.MaterializeResult:
    """Close the request as succeeded."""
    with request_run.stage(context) as run:
        facts: dict[str, Any] = {
            "attempt": run.job.attempt,
            "delivers": run.owns_request,
            "request": str(run.job.job_id),
        }
    run.succeed()  # after the stage: a finished request takes no more reports
    return dg.MaterializeResult(metadata=facts)


def provenance(job: JobInput, origin: dict[str, Any]) -> dict[str, Any]:
    """What a delivered file says of its origin. Equal requests differ in the id only."""
    return {
        "generator": "Pipeline3D",
        "request": str(job.job_id),
        "model": job.model_id,
        "parameters": job.params,
        **origin,
    }
