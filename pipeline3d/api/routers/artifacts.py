"""The objects of jobs: what there is, links to it, and all of it in one archive."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query
from fastapi.responses import RedirectResponse, Response

from pipeline3d.api import archives, downloads
from pipeline3d.api.auth import Reader
from pipeline3d.api.bodies import ArtifactRead, DownloadRead
from pipeline3d.api.compatibility import CompatibleRoute
from pipeline3d.api.downloads import EagerWish, Wish, answer_link
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices
from pipeline3d.api.viewing import read_own_job
from pipeline3d.values import ArtifactType

router = Router(route_class=CompatibleRoute, prefix=f"{API_PREFIX}/jobs", tags=["jobs"])

KeyPart = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
Types = Annotated[
    list[ArtifactType], Query(default_factory=list, description="Only these types; all where none is named.")
]
LED: dict[int | str, dict[str, Any]] = {302: {"description": "To the object itself."}}


@router.get("/{job_id}/download", response_model=DownloadRead, responses=LED)
async def download(
    job_id: UUID, account: Reader, services: AppServices, wish: Wish
) -> DownloadRead | RedirectResponse:
    """A link to the model that the job made."""
    job = await read_own_job(services, account, job_id)
    return answer_link(await downloads.link_result(services, job, wish), wish)


@router.get("/{job_id}/archive", response_class=Response, responses=archives.RESPONSES)
@router.get("/{job_id}/artifacts.zip", response_class=Response, include_in_schema=False)
async def download_archive(job_id: UUID, account: Reader, services: AppServices, types: Types) -> Response:
    """All files of a job that has ended, in a ZIP with a manifest."""
    job = await read_own_job(services, account, job_id)
    return await archives.stream_archive(services, account.id, job, types=types)


@router.get("/{job_id}/artifacts")
async def list_artifacts(
    job_id: UUID,
    account: Reader,
    services: AppServices,
    type: Types,
    asset: Annotated[str | None, Query(max_length=200)] = None,
) -> list[ArtifactRead]:
    """What is stored for the job."""
    await read_own_job(services, account, job_id)
    return await downloads.list_artifacts(services, job_id, types=type, asset=asset)


@router.get("/{job_id}/artifacts/{name}", response_model=DownloadRead, responses=LED)
async def open_artifact(
    job_id: UUID, name: KeyPart, account: Reader, services: AppServices, wish: EagerWish
) -> DownloadRead | RedirectResponse:
    """To the one object of the job that has this name."""
    job = await read_own_job(services, account, job_id)
    return answer_link(await downloads.link_by_name(services, job, name, wish), wish)


@router.get("/{job_id}/artifacts/{asset}/{name}", response_model=DownloadRead, responses=LED)
async def read_artifact(
    job_id: UUID, asset: KeyPart, name: KeyPart, account: Reader, services: AppServices, wish: Wish
) -> DownloadRead | RedirectResponse:
    """A link to one object of the job."""
    job = await read_own_job(services, account, job_id)
    return answer_link(await downloads.link_named_artifact(services, job, asset, name, wish), wish)
