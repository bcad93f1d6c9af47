"""The assets of a model request: photo → cut-out → mesh → GLB → preview → delivery.

Each asset is a shell: read the inputs, call one library function, report numbers, return a file.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.defs.failures import record_failure
from pipeline3d.defs.partitions import MODEL_REQUESTS
from pipeline3d.errors import PermanentFailure
from pipeline3d.generation import inflation
from pipeline3d.geometry import checks, glb, measuring, pose, rendering
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.imaging import decoding, framing, matting
from pipeline3d.values import ArtifactType, JobInput, Kind
from resources.artifact_io_manager import LocalFile
from resources.object_store import ObjectStore
from resources.preview_links import PreviewLinks
from resources.request_run import RequestRun

GLB_CONTENT_TYPE = "model/gltf-binary"
IMAGE_EXTENSIONS = {
    "JPEG": ("jpg", "image/jpeg"),
    "PNG": ("png", "image/png"),
    "WEBP": ("webp", "image/webp"),
}
CHECK_SPECS = [
    dg.AssetCheckSpec(
        name=check.name,
        asset="mesh",
        blocking=check.severity == "error",
        description=check.description,
    )
    for check in checks.MESH_CHECKS
]


FILE_TYPE = dg.PythonObjectDagsterType(LocalFile, name="LocalFile")


def model_asset(**options: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset of the model family: partitioned by request, stored as a file, its failures reported."""
    decorate: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        partitions_def=MODEL_REQUESTS,
        group_name=Kind.IMAGE_TO_3D.value,
        owners=["team:generation"],
        io_manager_key="artifacts",
        hooks={record_failure},
        **({"dagster_type": FILE_TYPE} | options),
    )
    return decorate


@model_asset(kinds={"image"}, description="The photo as it was uploaded, checked to be a picture.")
def source_image(
    context: dg.AssetExecutionContext, request_run: RequestRun, object_store: ObjectStore
) -> dg.MaterializeResult:
    """Fetch the caller's object and make sure that it decodes."""
    with request_run.stage(context) as run:
        data = object_store.read_input(input_key(run.job))
        picture = decoding.decode_picture(data)
        extension, content_type = IMAGE_EXTENSIONS.get(
            picture.source_format, (picture.source_format.lower(), f"image/{picture.source_format.lower()}")
        )
        path = _scratch_file(run.scratch, "source_image", f"source.{extension}")
        path.write_bytes(data)
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=content_type),
            metadata={
                "format": picture.source_format,
                "width_px": picture.source_width,
                "height_px": picture.source_height,
                "has_alpha": picture.alpha is not None,
                "model": run.job.model_id,
                "parameters": dg.MetadataValue.json(run.job.params),
            },
        )


@model_asset(kinds={"image"}, description="The object cut out of the photo and framed in a square.")
def preprocessed_image(
    context: dg.AssetExecutionContext, request_run: RequestRun, source_image: Path
) -> dg.MaterializeResult:
    """Remove the background and centre the object at its foreground ratio."""
    with request_run.stage(context) as run:
        picture = decoding.decode_picture(source_image.read_bytes())
        matte = matting.cut_out(picture, seed=run.job.params["seed"])
        framed = framing.frame_object(picture, matte, foreground_ratio=run.job.params["foreground_ratio"])
        path = _scratch_file(run.scratch, "preprocessed_image", "cutout.png")
        path.write_bytes(framing.encode_png(framed))
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type="image/png"),
            metadata={
                "method": matte.method,
                "confidence": matte.confidence,
                "coverage": matte.coverage,
                "side_px": int(framed.shape[0]),
            },
        )


@model_asset(
    kinds={"python", "gltf"},
    pool="generate",
    check_specs=CHECK_SPECS,
    code_version=inflation.ENGINE_VERSION,
    description="The mesh that the model made, with its checks: nothing that fails them is delivered.",
)
def mesh(
    context: dg.AssetExecutionContext, request_run: RequestRun, preprocessed_image: Path
) -> dg.MaterializeResult:
    """Generate the mesh and check it."""
    with request_run.stage(context) as run:
        model = inflation.inflate(
            framing.decode_rgba_png(preprocessed_image.read_bytes()),
            quality=run.job.params["quality"],
            texture_resolution=run.job.params.get("texture_resolution"),
            seed=run.job.params["seed"],
        )
        made = TexturedMesh(
            vertices=model.vertices,
            faces=model.faces,
            normals=model.normals,
            uvs=model.uvs,
            texture=model.texture_jpeg,
            texture_mime_type="image/jpeg",
        )
        facts = measuring.measure(made)
        path = _scratch_file(run.scratch, "mesh", "draft.glb")
        path.write_bytes(glb.encode_glb(made, name="draft"))
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=GLB_CONTENT_TYPE),
            check_results=[as_check_result(check) for check in checks.check_mesh(made)],
            metadata={
                "engine": inflation.ENGINE,
                "engine_version": inflation.ENGINE_VERSION,
                "vertices": facts.vertices,
                "faces": facts.faces,
                "watertight": facts.watertight,
                "volume": facts.volume,
                "seed": run.job.params["seed"],
            },
        )


@model_asset(kinds={"gltf"}, description="The delivered model: sized, on the ground plane, with its origin.")
def glb_export(
    context: dg.AssetExecutionContext, request_run: RequestRun, mesh: Path
) -> dg.MaterializeResult:
    """Scale to metres and pack as GLB; read it back before it is published."""
    with request_run.stage(context) as run:
        sized = pose.fit_to_size(glb.decode_glb(mesh.read_bytes()), size_m=run.job.params["size_m"])
        data = glb.encode_glb(sized, name="model", extras=provenance(run.job))
        facts = measuring.measure(glb.decode_glb(data))
        path = _scratch_file(run.scratch, "glb_export", "model.glb")
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
                metadata=numbers,
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
        path = _scratch_file(run.scratch, "model_preview", "thumbnail.png")
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


def input_key(job: JobInput) -> str:
    """The object that the caller uploaded. Raises PermanentFailure where a request has none."""
    key = job.params.get("input_path")
    if not key:
        raise PermanentFailure("The request names no picture.", code="missing_image")
    return str(key)


def provenance(job: JobInput) -> dict[str, Any]:
    """What a delivered file says of its origin. Equal requests differ in the id only."""
    return {
        "generator": "Pipeline3D",
        "request": str(job.job_id),
        "model": job.model_id,
        "engine": inflation.ENGINE,
        "engine_version": inflation.ENGINE_VERSION,
        "seed": job.params["seed"],
        "parameters": job.params,
        "tier": "embedded",
        "note": "The back side is inferred from the photographed side.",
    }


def as_check_result(check: checks.MeshCheck) -> dg.AssetCheckResult:
    """A library check as Dagster shows it."""
    severity = dg.AssetCheckSeverity.ERROR if check.severity == "error" else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=check.passed,
        severity=severity,
        metadata={"value": str(check.value), "limit": str(check.limit)},
        description=check.description,
    )


def _scratch_file(scratch: Path, asset: str, name: str) -> Path:
    folder = scratch / asset
    folder.mkdir(exist_ok=True)
    return folder / name


MODEL_ASSETS: Iterable[dg.AssetsDefinition] = [
    source_image,
    preprocessed_image,
    mesh,
    glb_export,
    model_preview,
    delivery,
]
