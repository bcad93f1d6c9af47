"""From a photo to its object, cut out and framed."""

import hashlib
from pathlib import Path

import dagster as dg

from pipeline3d.defs.assets.family import cut_out_object, model_asset, scratch_file
from pipeline3d.defs.assets.products import product_photos
from pipeline3d.errors import PermanentFailure
from pipeline3d.imaging import decoding, framing
from pipeline3d.values import JobInput, Kind
from resources.model_tools import ModelTools
from resources.object_store import ObjectStore
from resources.request_run import RequestRun
from resources.run_guard import RunGuard
from resources.stage_files import LocalFile, StageFiles

IMAGE_EXTENSIONS = {
    "JPEG": ("jpg", "image/jpeg"),
    "PNG": ("png", "image/png"),
    "WEBP": ("webp", "image/webp"),
}


@model_asset(
    deps=[product_photos], kinds={"image"}, description="The photo as it came, checked to be a picture."
)
def source_image(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    object_store: ObjectStore,
    stage_files: StageFiles,
) -> dg.MaterializeResult:
    """Fetch the caller's object, or the chosen one of a product's photos, and make sure that it decodes."""
    with request_run.stage(context) as run:
        data = _read_photo(run, object_store, stage_files)
        picture = decoding.decode_picture(data)
        extension, content_type = IMAGE_EXTENSIONS.get(
            picture.source_format, (picture.source_format.lower(), f"image/{picture.source_format.lower()}")
        )
        path = scratch_file(run, "source_image", f"source.{extension}")
        path.write_bytes(data)
        return dg.MaterializeResult(
            value=LocalFile(path=path, content_type=content_type),
            metadata={
                "format": picture.source_format,
                "width_px": picture.source_width,
                "height_px": picture.source_height,
                "has_alpha": picture.alpha is not None,
                "model": run.job.model_id,
                "parameters": dg.MetadataValue.json(run.job.shown_params),
            },
        )


@model_asset(kinds={"image"}, description="The object cut out of the photo and framed in a square.")
def preprocessed_image(
    context: dg.AssetExecutionContext,
    request_run: RequestRun,
    model_tools: ModelTools,
    source_image: Path,
) -> dg.MaterializeResult:
    """Remove the background and centre the object at its foreground ratio."""
    with request_run.stage(context) as run:
        picture = decoding.decode_picture(source_image.read_bytes())
        matte = cut_out_object(picture, run.job, model_tools)
        framed = framing.frame_object(picture, matte, foreground_ratio=run.job.params["foreground_ratio"])
        path = scratch_file(run, "preprocessed_image", "cutout.png")
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


def _read_photo(run: RunGuard, object_store: ObjectStore, stage_files: StageFiles) -> bytes:
    if run.job.kind is Kind.PRODUCT_TO_3D:
        return stage_files.fetch(run, "product_photos").read_bytes()
    data = object_store.read_input(input_key(run.job))
    run.note_source("upload/input", hashlib.sha256(data).hexdigest())
    return data


def input_key(job: JobInput) -> str:
    """The object that the caller uploaded. Raises PermanentFailure where a request has none."""
    key = job.params.get("input_path")
    if not key:
        raise PermanentFailure("The request names no picture.", code="missing_image")
    return str(key)
