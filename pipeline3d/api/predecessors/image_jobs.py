"""The image job system's calls: exports become jobs; the other queues are told why they cannot run yet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ValidationError
from sqlalchemy import Row

from pipeline3d.api.bodies import JobCreate
from pipeline3d.api.downloads import link_artifact
from pipeline3d.api.predecessors import image_forms
from pipeline3d.api.predecessors.image_forms import (
    ExportGltf,
    ExportMetadata,
    ExportResult,
    ImageJobCreated,
    Optimization,
)
from pipeline3d.api.predecessors.submitting import refuse_unbuilt, submit
from pipeline3d.api.services import Services
from pipeline3d.api.viewing import missing_job, read_own_job
from pipeline3d.errors import InvalidParameters, ModelNotReady
from pipeline3d.outbound.addresses import check_address
from pipeline3d.requests import reading, shop3d
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.status_words import Contract, word_for
from pipeline3d.store.keys import owner_of_upload
from pipeline3d.values import JobState, Kind

EXPORT_QUEUE = "export-gltf"
EXPORT_MODEL = "export-v1"
EXPORT_ROUTE = "POST /image-jobs/export-gltf"
_JOB_ADDRESS = re.compile(r"/api/v1/jobs/([0-9A-Fa-f-]{36})(/.*)?")

MODEL_OF_FORM: dict[type[BaseModel], str] = {
    image_forms.ImageGeneration: "image-generate-v1",
    image_forms.ImageUpscale: "upscale-v1",
    image_forms.TextureBlend: "blend-texture-v1",
    image_forms.ArPreview: "ar-preview-v1",
    image_forms.DesignRender: "design-render-v1",
}
_FOR_THE_CALLER = frozenset({"user_id", "design_id", "tenant_id", "prompt", "render_options"})
"""Fields of a payload that are no parameters of a model, or are not under their name."""

_RESULTS = {
    # by format, and whether it was to be made small
    ("glb", False): ("glb_export", "model.glb"),
    ("glb", True): ("web_glb", "web.glb"),
    ("gltf", False): ("further_formats", "model-gltf.zip"),
}


async def refuse_image_job(services: Services, payload: BaseModel) -> ModelNotReady:
    """Why a queue's job cannot run; a payload that is wrong is told that first."""
    values = payload.model_dump(exclude_none=True)
    for name, value in values.items():
        if name.endswith("_url"):
            check_address(value)
    params = {name: value for name, value in values.items() if name not in _FOR_THE_CALLER}
    params |= values.get("render_options", {})
    return await refuse_unbuilt(services, MODEL_OF_FORM[type(payload)], params)


async def export_model(
    services: Services, account: Account, payload: ExportGltf, key: str | None
) -> ImageJobCreated:
    """Make a glTF or GLB of a model that is here already."""
    source = name_source(payload.model_url, services.settings.api_url)
    params: dict[str, Any] = {"delivers": "model"}
    if payload.format == "gltf":
        if payload.optimization is not None:
            raise InvalidParameters(
                "optimization is for GLB; a glTF is written as it is.",
                hint="Ask for the format glb, or leave optimization out.",
            )
        params["formats"] = ["gltf"]
    elif payload.optimization is not None:
        params |= _compress(payload.optimization)
    if isinstance(source, str):
        params["input_path"] = source
    asked = payload.model_dump(mode="json", by_alias=True, exclude_none=True)
    body = JobCreate(
        model_id=EXPORT_MODEL,
        input_params=params,
        input_job_id=source if isinstance(source, UUID) else None,
        metadata={"queue": EXPORT_QUEUE, **asked},
    )
    job = await submit(services, account, body, key, route=EXPORT_ROUTE, asked=asked)
    return ImageJobCreated.model_validate(
        {"job_id": job.id, "queue": EXPORT_QUEUE, "status": word_for(Contract.LUNEO, job.status)}
    )


def name_source(model_url: str, api_url: str | None) -> UUID | str:
    """The job or the upload that an export is of. Raises InvalidParameters for any other address.

    A job is named by its id or by an address of it here; its model is taken, whatever follows in the path.
    """
    if owner_of_upload(model_url) is not None:
        return model_url
    found = _JOB_ADDRESS.fullmatch(model_url.removeprefix(api_url or ""))
    try:
        return UUID(found[1] if found else model_url)
    except ValueError:
        raise InvalidParameters(
            "modelUrl is neither a job of yours nor an upload; models are not fetched from other addresses.",
            code="unsupported_model_url",
            hint="Upload the model with a ticket and send its object_name, or send the id of a job.",
            details={"errors": [{"field": "modelUrl", "message": "it is no job and no upload"}]},
        ) from None


def _compress(optimization: Optimization) -> dict[str, Any]:
    """The parameters of a GLB that is small: it is one of the files of a bundle."""
    chosen: dict[str, Any] = {"delivers": "bundle", "web_codec": "meshopt"}
    if optimization.draco is not False:
        chosen["web_codec"] = "draco"
    if optimization.texture_size is not None:
        chosen["web_texture_px"] = optimization.texture_size
    return chosen


async def read_export(services: Services, account: Account, job_id: UUID) -> ExportResult:
    """An export of the caller as it stands. Raises UnknownJob."""
    row = await read_own_job(services, account, job_id)
    asked = _read_payload(row)
    if asked is None:
        raise missing_job(account, job_id, is_known=False)
    artifacts = await services.all(reading.list_artifacts(), the_jobs=[job_id])
    return _present(services, row, asked, artifacts)


def _read_payload(row: Row[Any]) -> ExportGltf | None:
    """What an export was asked for; None for a job of another way, whatever its metadata says."""
    if row.kind != Kind.EXPORT_MODEL or row.metadata.get("queue") != EXPORT_QUEUE:
        return None
    try:
        return ExportGltf.model_validate(row.metadata)
    except ValidationError:
        return None


def _present(
    services: Services, row: Row[Any], asked: ExportGltf, artifacts: Iterable[Row[Any]]
) -> ExportResult:
    wanted = _RESULTS.get((asked.format, asked.optimization is not None))
    stored = {(artifact.asset, artifact.name): artifact for artifact in artifacts}
    done = row.state == JobState.SUCCEEDED
    result = stored.get(wanted) if done and wanted is not None else None
    failure = shop3d.describe_failure(row.state, row.error_message)
    return ExportResult.model_validate(
        {
            "job_id": row.id,
            "status": word_for(Contract.LUNEO, row.state),
            "success": done if row.completed_at is not None else None,
            "model_url": None if result is None else link_artifact(services, row.id, result).download_url,
            "format": asked.format,
            "size": None if result is None else result.file_size_bytes,
            "metadata": ExportMetadata(
                design_id=asked.design_id,
                format=asked.format,
                optimization=row.metadata.get("optimization"),
                exported_at=row.completed_at if done else None,
                source_format=_source_format(row.params),
            ),
            "error": failure,
        }
    )


def _source_format(params: dict[str, Any]) -> str | None:
    """What the model was before: of a job it was a GLB."""
    if params.get("source_job_id") is not None:
        return "glb"
    return PurePosixPath(params.get("input_path", "")).suffix.lower().removeprefix(".") or None
