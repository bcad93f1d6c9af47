"""The objects of jobs: what there is, and links to it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from pipeline3d.api.auth import Reader
from pipeline3d.api.bodies import ArtifactRead, DownloadRead
from pipeline3d.api.compatibility import CompatibleRoute
from pipeline3d.api.downloads import link_named_artifact, link_result
from pipeline3d.api.presenting import present_artifact
from pipeline3d.api.services import AppServices
from pipeline3d.api.viewing import read_own_job
from pipeline3d.requests import reading

router = APIRouter(route_class=CompatibleRoute, prefix="/jobs", tags=["jobs"])

KeyPart = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]


@router.get("/{job_id}/download")
async def download(job_id: UUID, account: Reader, services: AppServices) -> DownloadRead:
    """A link to the model that the job made."""
    return await link_result(services, await read_own_job(services, account, job_id))


@router.get("/{job_id}/artifacts")
async def list_artifacts(job_id: UUID, account: Reader, services: AppServices) -> list[ArtifactRead]:
    """Everything that is stored for the job."""
    await read_own_job(services, account, job_id)
    rows = await services.all(reading.list_artifacts(), the_jobs=[job_id])
    return [present_artifact(row) for row in rows]


@router.get("/{job_id}/artifacts/{asset}/{name}")
async def read_artifact(
    job_id: UUID, asset: KeyPart, name: KeyPart, account: Reader, services: AppServices
) -> DownloadRead:
    """A link to one object of the job."""
    return await link_named_artifact(services, await read_own_job(services, account, job_id), asset, name)
