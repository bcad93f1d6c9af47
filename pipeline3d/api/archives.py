"""All files of a job in one ZIP, made while it is sent: nothing is stored, no more than a piece is in memory.

Each file is compared with what was recorded while it passes. Where one is missing or is not what it should
be, or where the store fails, the connection is broken: a ZIP that came to its end is whole. Its last member
is `manifest.json`, written when all others were verified.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from stream_zip import ZIP_64, stream_zip

from pipeline3d.api.downloads import unknown_artifact
from pipeline3d.api.services import Services
from pipeline3d.api.transfers import Places
from pipeline3d.errors import BrokenArtifact, NotFinished
from pipeline3d.requests import reading
from pipeline3d.requests.creation import UPLOAD_ASSET
from pipeline3d.store.contents import read_pieces
from pipeline3d.store.links import content_disposition
from pipeline3d.store.s3 import S3Store
from pipeline3d.values import FINISHED_STATES, ArtifactType

MEDIA_TYPE = "application/zip"
MANIFEST = "manifest.json"
CHUNK_BYTES = 256 << 10
FILE_MODE = 0o100644
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The ZIP. It is whole if it came to its end.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ArchiveResponse(StreamingResponse):
    """A ZIP on its way; its place is free again when it was sent, however that ends."""

    def __init__(self, chunks: AsyncIterator[bytes], filename: str, places: Places, user_id: UUID) -> None:
        headers = {"Content-Disposition": content_disposition(filename), "Cache-Control": "no-store"}
        super().__init__(chunks, media_type=MEDIA_TYPE, headers=headers)
        self._places = places
        self._user_id = user_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.leave(self._user_id)


async def stream_archive(
    services: Services, user_id: UUID, job: Row[Any], *, types: Collection[ArtifactType]
) -> ArchiveResponse:
    """The files of a job that has ended: all, or those of some types."""
    if job.state not in FINISHED_STATES:
        raise NotFinished(
            f"Job {job.id} is {job.state}; its files can be archived once it has ended.",
            hint="Poll the job until it has ended; single artifacts can be had before.",
        )
    rows = await services.all(reading.list_artifacts(), the_jobs=[job.id])
    chosen = sorted(
        (row for row in rows if not types or row.type in types), key=lambda row: (row.asset, row.name)
    )
    if not chosen:
        raise unknown_artifact(f"Job {job.id}", "files" if not types else f"files of type {', '.join(types)}")
    places = services.transfers.archives
    await places.enter(user_id)
    try:
        chunks = write_archive(services.store, job, chosen)
        # The first piece comes before the answer begins: what is wrong from the start is answered as such.
        first = await services.transfers.run(_begin, chunks)
        return ArchiveResponse(_send(services, first, chunks), f"{job.id}.zip", places, user_id)
    except BaseException:
        places.leave(user_id)
        raise


def _begin(chunks: Iterator[bytes]) -> bytes:
    """The head of the first member and what follows it, for which the beginning of its content is read."""
    return next(chunks) + next(chunks)


async def _send(services: Services, first: bytes, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    while chunk := await services.transfers.run(next, chunks, b""):
        yield chunk


def write_archive(store: S3Store, job: Row[Any], artifacts: Sequence[Row[Any]]) -> Iterator[bytes]:
    """The bytes of the ZIP. Files are stored as they are: most are compressed, and speed is worth more."""
    listed: list[dict[str, Any]] = []

    def members() -> Iterator[tuple[str, datetime, int, Any, Iterator[bytes]]]:
        for artifact in artifacts:
            name = member_name(artifact)
            content = _read_verified(store, artifact, name, listed)
            yield name, artifact.created_at, FILE_MODE, ZIP_64, content
        manifest = json.dumps(_describe(job, listed), indent=2, ensure_ascii=False).encode()
        yield MANIFEST, job.completed_at, FILE_MODE, ZIP_64, iter((manifest,))

    yield from stream_zip(members(), chunk_size=CHUNK_BYTES, get_compressobj=_store_as_it_is)


def member_name(artifact: Row[Any]) -> str:
    """Where a file is in the ZIP. What a caller uploaded has its own ending there."""
    if artifact.asset != UPLOAD_ASSET:
        return f"{artifact.asset}/{artifact.name}"
    return f"{artifact.asset}/{artifact.name}{PurePosixPath(artifact.storage_path).suffix}"


def _read_verified(
    store: S3Store, artifact: Row[Any], name: str, listed: list[dict[str, Any]]
) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for piece in read_pieces(store, artifact.storage_path, artifact.file_size_bytes):
        digest.update(piece)
        yield piece
    sha256 = digest.hexdigest()
    if artifact.sha256 not in (None, sha256):
        raise BrokenArtifact(f"{artifact.storage_path} has sha256 {sha256} instead of {artifact.sha256}.")
    listed.append(
        {
            "path": name,
            "asset": artifact.asset,
            "name": artifact.name,
            "type": artifact.type,
            "content_type": artifact.content_type,
            "size": artifact.file_size_bytes,
            "sha256": sha256,
            "attempt": artifact.attempt,
            "created_at": artifact.created_at.isoformat(),
            "made_from": artifact.metadata.get("made_from", {}),
            "metadata": {key: value for key, value in artifact.metadata.items() if key != "made_from"},
        }
    )


def _describe(job: Row[Any], listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "job": {
            "id": str(job.id),
            "model_id": job.model_id,
            "kind": job.kind,
            "status": job.state,
            "prompt": job.prompt,
            "params": job.params,
            "tags": job.tags,
            "metadata": job.metadata,
            "attempt": job.attempt,
            "stage_seconds": job.stage_seconds,
            "created_at": job.created_at.isoformat(),
            "completed_at": job.completed_at.isoformat(),
        },
        "artifacts": listed,
    }


def _store_as_it_is() -> Any:
    return zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS)
