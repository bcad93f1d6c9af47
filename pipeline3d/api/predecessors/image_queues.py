"""The image job system's queues as routes, one for each, with its payload."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Header, Response

from pipeline3d.api.auth import Reader, Writer
from pipeline3d.api.predecessors.errors import answering_errors_with
from pipeline3d.api.predecessors.image_forms import (
    ArPreview,
    DesignRender,
    ExportGltf,
    ExportResult,
    ImageGeneration,
    ImageJobCreated,
    ImageUpscale,
    TextureBlend,
)
from pipeline3d.api.predecessors.image_jobs import export_model, read_export, refuse_image_job
from pipeline3d.api.predecessors.submitting import UNBUILT
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices

router = Router(
    prefix=f"{API_PREFIX}/image-jobs",
    tags=["earlier: image jobs"],
    route_class=answering_errors_with(lambda problem: {"success": False, "error": problem["detail"]}),
)


@router.post("/image-generation", **UNBUILT)
async def generate_image(payload: ImageGeneration, _account: Writer, services: AppServices) -> None:
    """A picture of a text. Not built yet."""
    raise await refuse_image_job(services, payload)


@router.post("/image-upscale", **UNBUILT)
@router.post("/upscale", **UNBUILT, include_in_schema=False)
async def upscale_image(payload: ImageUpscale, _account: Writer, services: AppServices) -> None:
    """A picture with more pixels. Not built yet."""
    raise await refuse_image_job(services, payload)


@router.post("/texture-blend", **UNBUILT)
async def blend_texture(payload: TextureBlend, _account: Writer, services: AppServices) -> None:
    """A texture laid over another one. Not built yet."""
    raise await refuse_image_job(services, payload)


@router.post("/ar-preview", **UNBUILT)
async def preview_in_place(payload: ArPreview, _account: Writer, services: AppServices) -> None:
    """A design in a photo of its place. Not built yet."""
    raise await refuse_image_job(services, payload)


@router.post("/design-render", **UNBUILT)
async def render_design(payload: DesignRender, _account: Writer, services: AppServices) -> None:
    """A design painted into a texture. Not built yet."""
    raise await refuse_image_job(services, payload)


@router.post("/export-gltf", status_code=HTTPStatus.CREATED)
async def export_gltf(
    payload: ExportGltf,
    account: Writer,
    services: AppServices,
    response: Response,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> ImageJobCreated:
    """A glTF or GLB of a model: of a job of one's own, or of an uploaded file."""
    created = await export_model(services, account, payload, idempotency_key)
    response.headers["Location"] = f"/api/v1/image-jobs/{created.job_id}"
    return created


@router.get("/{job_id}")
async def read_image_job(job_id: UUID, account: Reader, services: AppServices) -> ExportResult:
    """An export as it stands, with a link to its file once it is there."""
    return await read_export(services, account, job_id)
