"""Links to what jobs made: minted when they are asked for, never stored."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.bodies import DownloadRead
from pipeline3d.api.presenting import download_filename
from pipeline3d.api.services import Services
from pipeline3d.errors import NotFinished, RequestError
from pipeline3d.requests import reading
from pipeline3d.values import JobState


async def link_result(services: Services, row: Row[Any]) -> DownloadRead:
    """A link to the model that a job made."""
    if row.state != JobState.SUCCEEDED:
        raise NotFinished(
            f"Job {row.id} is {row.state}; a result can be downloaded once it is SUCCEEDED.",
            hint="Poll the job until its status is SUCCEEDED.",
        )
    artifact = await services.first(reading.read_result(row.id))
    if artifact is None:
        raise RequestError(f"Job {row.id} has no result that can be downloaded.", code="no_result")
    return link_artifact(services, row.id, artifact)


async def link_named_artifact(services: Services, row: Row[Any], asset: str, name: str) -> DownloadRead:
    """A link to one object of a job."""
    artifact = await services.first(reading.read_named_artifact(row.id, asset, name))
    if artifact is None:
        raise RequestError(f"Job {row.id} has no {asset}/{name}.", code="unknown_artifact")
    return link_artifact(services, row.id, artifact)


def link_artifact(services: Services, job_id: UUID, artifact: Row[Any]) -> DownloadRead:
    """A link that lasts for a while. Made on reading, never stored."""
    filename = download_filename(job_id, artifact)
    expires_s = services.settings.download_url_expires_s
    return DownloadRead(
        download_url=services.store.presign_get(artifact.storage_path, expires_s, filename),
        expires_in=expires_s,
        filename=filename,
        content_type=artifact.content_type,
        size=artifact.file_size_bytes,
        sha256=artifact.sha256,
    )
