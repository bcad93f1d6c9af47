"""Small files that come with the request itself: one file in a form, kept on disk while it comes.

The form is read by the parser of Starlette, which holds at most a megabyte of it in memory. What it says of
itself, its type and its name, is checked against its first bytes before anything is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO
from uuid import UUID

import anyio
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from pipeline3d.api.file_bodies import UploadAnswer
from pipeline3d.api.file_kinds import (
    UNKNOWN_TYPE,
    FileKind,
    check_beginning,
    identify_image,
    is_model_name,
    kind_of,
)
from pipeline3d.api.services import Services
from pipeline3d.api.uploads import empty_file, find_same_upload, limit_of, too_large, upload_fields
from pipeline3d.errors import InvalidParameters, RequestError
from pipeline3d.requests import uploads
from pipeline3d.requests.creation import new_job_id
from pipeline3d.store.contents import HEAD_BYTES
from pipeline3d.store.keys import sanitise_filename, upload_key

FIELD = "file"
PIECE_BYTES = 1 << 20
FORM_OVERHEAD_BYTES = 64 << 10
"""What a form has besides its file."""
PATIENCE_S = 300.0
"""How long a form may take to come."""
FORM_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                    "required": [FIELD],
                    "additionalProperties": False,
                }
            }
        },
    }
}
"""For the description of the API: the form is read by hand, and only once it is known who sends it."""


async def receive_upload(services: Services, user_id: UUID, request: Request) -> UploadAnswer:
    """Store the one file of a form; where the same user stored its content before, name that instead."""
    async with services.transfers.uploads.take(user_id), _receive_file(request) as file:
        size = file.size or 0
        filename = sanitise_filename(file.filename or "")
        head = await file.read(HEAD_BYTES)
        kind, content_type = _judge(filename, file.content_type or UNKNOWN_TYPE, head)
        limit = min(limit_of(services, kind), services.settings.direct_upload_max_bytes)
        if size == 0:
            raise empty_file(kind)
        if size > limit:
            raise too_large(kind, size, limit)
        check_beginning(kind, head, filename)
        sha256 = await services.transfers.run(_hash, file.file)
        same = await find_same_upload(services, user_id, sha256, content_type, filename)
        if same is not None:
            return UploadAnswer(**upload_fields(same), already_stored=True)
        upload = uploads.NewUpload(
            id=new_job_id(),
            user_id=user_id,
            key=upload_key(user_id, filename),
            filename=filename,
            content_type=content_type,
        )
        await file.seek(0)
        store = services.store
        stored = await services.transfers.run(store.put_stream, upload.key, file.file, size, content_type)
        facts = await services.ask_store(store.stat, upload.key)
    record = uploads.record_stored(upload, size=stored.size, sha256=stored.sha256, etag=facts.etag)
    row = await services.first(record)
    assert row is not None
    return UploadAnswer(**upload_fields(row), already_stored=False)


@asynccontextmanager
async def _receive_file(request: Request) -> AsyncIterator[UploadFile]:
    """The file of a form that has nothing else, for the block; it is removed from the disk after it."""
    form = await _read_form(request)
    try:
        items = form.multi_items()
        if len(items) != 1 or items[0][0] != FIELD or not isinstance(items[0][1], UploadFile):
            raise _bad_form(f"it must have one field, {FIELD}, with one file")
        yield items[0][1]
    finally:
        await form.close()


async def _read_form(request: Request) -> FormData:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise _bad_form("its Content-Type is not multipart/form-data")
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=1, max_part_size=1024)
    try:
        with anyio.fail_after(PATIENCE_S):
            return await parser.parse()
    except MultiPartException as error:
        raise _bad_form(error.message) from error
    except UnicodeError as error:
        raise _bad_form("its text is not of the charset that it names") from error
    except TimeoutError as error:
        raise RequestError(
            f"The file did not come within {PATIENCE_S:g} seconds.",
            code="upload_too_slow",
            hint="Use an upload ticket: the object store is more patient.",
        ) from error
    except ClientDisconnect as error:
        raise RequestError("The connection ended before the file did.", code="upload_incomplete") from error


def _judge(filename: str, declared: str, head: bytes) -> tuple[FileKind, str]:
    """What a file is brought as, and its type. A picture is called what it is, whatever its name says."""
    declared = declared.partition(";")[0].strip().lower()
    found = identify_image(head)
    if declared == UNKNOWN_TYPE and not is_model_name(filename):
        if found is None:
            kind_of(filename, declared)
        return FileKind.PICTURE, f"image/{found}".lower()
    kind = kind_of(filename, declared)
    if kind is FileKind.PICTURE and found is not None:
        return kind, f"image/{found}".lower()
    return kind, declared


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _bad_form(why: str) -> RequestError:
    return InvalidParameters(
        f"The form cannot be used: {why.rstrip('.')}.",
        code="invalid_form",
        hint=f"Send multipart/form-data with one file in the field {FIELD!r}.",
    )
