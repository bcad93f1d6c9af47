"""Photos that come together: each becomes an upload of the caller. In bounded memory, a few at a time."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from uuid import UUID

import anyio

from pipeline3d.api.batch_archives import ArchiveLimits, list_photos, open_archive, unpack
from pipeline3d.api.batch_items import Item, merge
from pipeline3d.api.file_kinds import FileKind, check_beginning, identify_image
from pipeline3d.api.known_models import find_catalogue_model
from pipeline3d.api.services import Services
from pipeline3d.api.uploads import empty_file, too_large
from pipeline3d.errors import RequestError
from pipeline3d.requests import uploads
from pipeline3d.requests.catalogue import check_request
from pipeline3d.requests.creation import UploadedInput, new_job_id
from pipeline3d.store.contents import HEAD_BYTES
from pipeline3d.store.keys import sanitise_filename, upload_key

AT_A_TIME = 4
IN_MEMORY_BYTES = 1 << 20
"""Of each photo that is under way; the rest of it is in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo to be stored: its name, and how it is written into a file; which says its bytes."""

    name: str
    write: Callable[[BinaryIO, int], int]


def photos_of_archive(archive: zipfile.ZipFile, services: Services) -> list[Photo]:
    """The photos of an archive, none of which is unpacked yet."""
    limits = ArchiveLimits(total_bytes=2 * services.settings.max_batch_bytes)

    def writer(entry: zipfile.ZipInfo) -> Callable[[BinaryIO, int], int]:
        return lambda target, limit: unpack(archive, entry, target, limit)

    return [Photo(name=entry.filename, write=writer(entry)) for entry in list_photos(archive, limits)]


async def open_in_thread(services: Services, file: BinaryIO) -> list[Photo]:
    """The photos of an archive in a file."""
    return await services.transfers.run(lambda: photos_of_archive(open_archive(file), services))


async def store_photos(
    services: Services, user_id: UUID, photos: list[Photo], defaults: dict[str, Any]
) -> list[Item]:
    """Store photos as uploads of the caller; a job to be for each, or why there is none."""
    items: dict[int, Item] = {}
    places = anyio.Semaphore(AT_A_TIME)

    async def store(index: int, photo: Photo) -> None:
        async with places:
            try:
                upload = await _store_photo(services, user_id, photo)
            except RequestError as error:
                items[index] = Item(index=index, name=photo.name, error=error)
                return
        fields = merge(defaults, {"input_params": {"input_path": upload.key}})
        items[index] = Item(index=index, name=photo.name, fields=fields, upload=upload)

    await _require_photo_model(services, defaults)
    try:
        async with services.transfers.uploads.take(user_id), anyio.create_task_group() as tasks:
            for index, photo in enumerate(photos):
                tasks.start_soon(store, index, photo)
    except ExceptionGroup as several:
        # the store is away: one says it as well as all
        raise several.exceptions[0] from several
    return [items[index] for index in sorted(items)]


async def _require_photo_model(services: Services, defaults: dict[str, Any]) -> None:
    """Refuse what no photo could become, before any is stored."""
    model = await find_catalogue_model(services, defaults["model_id"])
    params = {**defaults.get("input_params", {}), "input_path": "-"}
    check_request(model, params, prompt=None, bucket=services.settings.minio_bucket)


async def _store_photo(services: Services, user_id: UUID, photo: Photo) -> UploadedInput:
    limit = services.settings.max_upload_bytes
    filename = sanitise_filename(PurePosixPath(photo.name).name)

    def work() -> tuple[uploads.NewUpload, int, str, str]:
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
            size = photo.write(file, limit)  # type: ignore[arg-type]
            if size == 0:
                raise empty_file(FileKind.PICTURE)
            if size > limit:
                raise too_large(FileKind.PICTURE, size, limit)
            file.seek(0)
            head = file.read(HEAD_BYTES)
            check_beginning(FileKind.PICTURE, head, filename)
            file.seek(0)
            upload = uploads.NewUpload(
                id=new_job_id(),
                user_id=user_id,
                key=upload_key(user_id, filename),
                filename=filename,
                content_type=f"image/{identify_image(head)}".lower(),
            )
            stored = services.store.put_stream(upload.key, file, size, upload.content_type)  # type: ignore[arg-type]
            return upload, stored.size, stored.sha256, services.store.stat(upload.key).etag

    upload, size, sha256, etag = await services.transfers.run(work)
    await services.first(uploads.record_stored(upload, size=size, sha256=sha256, etag=etag))
    return UploadedInput(key=upload.key, size=size, content_type=upload.content_type, is_recorded=True)


def digest_of(file: BinaryIO) -> str:
    """The hash of an open file from its beginning, to which it is set back."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(IN_MEMORY_BYTES):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest()
