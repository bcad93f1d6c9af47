"""Preview pictures under signed links, for pages that cannot send an API key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Query
from fastapi.responses import RedirectResponse

from pipeline3d.api.routers.artifacts import KeyPart
from pipeline3d.api.routing import Router
from pipeline3d.api.services import AppServices
from pipeline3d.errors import RequestError
from pipeline3d.requests import reading
from pipeline3d.store.links import Presentation
from pipeline3d.store.signed_links import is_signed
from pipeline3d.values import ArtifactType

router = Router(tags=["previews"])

LINK_EXPIRES_S = 60


@router.get("/previews/{job_id}/{asset}/{name}", response_class=RedirectResponse)
async def show_preview(
    job_id: UUID,
    asset: KeyPart,
    name: KeyPart,
    services: AppServices,
    signature: Annotated[str, Query(max_length=200)] = "",
) -> RedirectResponse:
    """The picture that the link was signed for; a wrong signature looks like a picture that is not there."""
    signing_key = services.settings.link_signing_key
    row = None
    if signing_key and is_signed(signing_key.get_secret_value(), job_id, asset, name, signature):
        row = await services.first(reading.read_visible_artifact(job_id, asset, name))
    if row is None or row.type != ArtifactType.PREVIEW:
        raise RequestError("There is no such preview.", code="unknown_artifact")
    shown = Presentation(content_type=row.content_type, cache_control=f"private, max-age={LINK_EXPIRES_S}")
    link = services.store.links.for_download(row.storage_path, LINK_EXPIRES_S, shown)
    return RedirectResponse(link, HTTPStatus.TEMPORARY_REDIRECT, {"Cache-Control": "no-store"})
