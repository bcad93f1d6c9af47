"""The body of a batch, in whichever form it comes: JSON, CSV, a ZIP of photos, or a form with photos.

It is read only once it is known who sends it. What is large is kept on disk while it comes.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from pipeline3d.api.batch_forms import MOST_JOBS, BatchCreate, BatchQuery
from pipeline3d.api.batch_items import Item, merge, read_csv
from pipeline3d.api.batch_photos import Photo, digest_of, open_in_thread, store_photos
from pipeline3d.api.services import Services
from pipeline3d.errors import InvalidParameters, RequestError

MOST_TEXT_BYTES = 8 << 20
"""Of JSON and CSV, which are read into memory."""
MOST_DEFAULT_BYTES = 32 << 20
"""Of what stands once in a batch and is stored with each of its jobs."""
IN_MEMORY_BYTES = 1 << 20
PIECE_BYTES = 1 << 18

BATCH_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": BatchCreate.model_json_schema()},
            "text/csv": {"schema": {"type": "string"}},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "photos": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                    "required": ["photos"],
                }
            },
        },
    }
}
"""For the description of the API: the body is read by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentBatch:
    """A batch as it came. `digest` tells its content; `read_items` makes jobs to be of it."""

    source: str
    name: str
    digest: str
    read_items: Callable[[], Awaitable[list[Item]]]


@asynccontextmanager
async def receive_batch(
    services: Services, user_id: UUID, request: Request, query: BatchQuery
) -> AsyncIterator[SentBatch]:
    """The batch of a request, for the block; what was kept on disk is gone after it."""
    type_ = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    name = query.name or ""
    if type_ == "application/json":
        yield _sent_json(await _read_text(request), name)
    elif type_ in ("text/csv", "application/csv"):
        yield _sent_csv(await _read_text(request), name, query)
    elif type_ in ("application/zip", "application/x-zip-compressed"):
        _require_model(query)
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
            async for piece in _pieces(request):
                file.write(piece)
            file.seek(0)
            yield await _sent_archive(services, user_id, file, name, query)  # type: ignore[arg-type]
    elif type_ == "multipart/form-data":
        async with _receive_form(request) as files:
            yield await _sent_files(services, user_id, files, name, query)
    else:
        raise RequestError(
            f"A batch comes as application/json, text/csv, application/zip or multipart/form-data, "
            f"not as {type_ or 'something without a Content-Type'}.",
            code="unsupported_media_type",
            hint="Set the Content-Type of what you send.",
        )


def _sent_json(data: bytes, name: str) -> SentBatch:
    try:
        body = BatchCreate.model_validate(json.loads(data))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            raise RequestValidationError(
                [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
            ) from error
        position = getattr(error, "pos", 0)
        raise RequestValidationError(
            [{"type": "json_invalid", "loc": ("body", position), "msg": ""}]
        ) from error

    if len(json.dumps(body.defaults)) * len(body.jobs) > MOST_DEFAULT_BYTES:
        raise RequestError(
            f"The defaults, once for each job, have more than {MOST_DEFAULT_BYTES} bytes.",
            code="body_too_large",
            hint="Send smaller defaults, or fewer jobs at a time.",
        )

    async def read_items() -> list[Item]:
        return [
            Item(index=index, fields=merge(body.defaults, fields)) for index, fields in enumerate(body.jobs)
        ]

    canonical = json.dumps(body.model_dump(mode="json"), sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return SentBatch(source="json", name=body.name or name, digest=digest, read_items=read_items)


def _sent_csv(data: bytes, name: str, query: BatchQuery) -> SentBatch:
    items = read_csv(data, _defaults(query))

    async def read_items() -> list[Item]:
        return items

    return SentBatch(source="csv", name=name, digest=hashlib.sha256(data).hexdigest(), read_items=read_items)


async def _sent_archive(
    services: Services, user_id: UUID, file: BinaryIO, name: str, query: BatchQuery
) -> SentBatch:
    digest = await services.transfers.run(digest_of, file)
    photos = await open_in_thread(services, file)
    defaults = _defaults(query)

    async def read_items() -> list[Item]:
        return await store_photos(services, user_id, photos, defaults)

    return SentBatch(source="zip", name=name, digest=digest, read_items=read_items)


async def _sent_files(
    services: Services, user_id: UUID, files: list[UploadFile], name: str, query: BatchQuery
) -> SentBatch:
    """A form with photos; or with one ZIP or CSV file, as a browser sends it."""
    if len(files) == 1:
        ending = (files[0].filename or "").lower().rpartition(".")[2]
        if ending == "csv":
            return _sent_csv(await files[0].read(MOST_TEXT_BYTES), name, query)
        if ending == "zip":
            _require_model(query)
            return await _sent_archive(services, user_id, files[0].file, name, query)
    _require_model(query)
    digests = [(file.filename, await services.transfers.run(digest_of, file.file)) for file in files]
    photos = [Photo(name=file.filename or "photo", write=_copy(file.file)) for file in files]
    defaults = _defaults(query)

    async def read_items() -> list[Item]:
        return await store_photos(services, user_id, photos, defaults)

    digest = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    return SentBatch(source="form", name=name, digest=digest, read_items=read_items)


def _copy(source: BinaryIO) -> Callable[[BinaryIO, int], int]:
    def write(target: BinaryIO, limit: int) -> int:
        size = 0
        source.seek(0)
        while size <= limit and (piece := source.read(PIECE_BYTES)):
            size += len(piece)
            target.write(piece)
        return size

    return write


@asynccontextmanager
async def _receive_form(request: Request) -> AsyncIterator[list[UploadFile]]:
    parser = MultiPartParser(request.headers, request.stream(), max_files=MOST_JOBS, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise _bad_form(error.message) from error
    except UnicodeError as error:
        raise _bad_form("its text is not of the charset that it names") from error
    except ClientDisconnect as error:
        raise _incomplete() from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise _bad_form("it has no file")
        yield files
    finally:
        await form.close()


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect as error:
        raise _incomplete() from error


async def _read_text(request: Request) -> bytes:
    data = bytearray()
    async for piece in _pieces(request):
        data += piece
        if len(data) > MOST_TEXT_BYTES:
            raise RequestError(
                f"JSON and CSV have at most {MOST_TEXT_BYTES} bytes.",
                code="body_too_large",
                hint="Send it in parts.",
            )
    return bytes(data)


def _defaults(query: BatchQuery) -> dict[str, Any]:
    """The fields of every job that the query gives, with its `params`."""
    fields = query.defaults()
    if query.params is not None:
        try:
            params = json.loads(query.params)
        except (ValueError, RecursionError):
            params = None
        if not isinstance(params, dict):
            raise InvalidParameters("params is not a JSON object.", code="invalid_request")
        fields["input_params"] = params
    return fields


def _require_model(query: BatchQuery) -> None:
    if query.model_id is None:
        raise InvalidParameters(
            "model_id is missing: which model are the photos to become?",
            code="missing_model_id",
            hint="Add ?model_id=inflate-v1 to the address.",
        )


def _incomplete() -> RequestError:
    return RequestError("The connection ended before the batch did.", code="upload_incomplete")


def _bad_form(why: str) -> InvalidParameters:
    return InvalidParameters(
        f"The form cannot be used: {why.rstrip('.')}.",
        code="invalid_form",
        hint=f"Send multipart/form-data with up to {MOST_JOBS} pictures, or one ZIP or CSV file.",
    )
