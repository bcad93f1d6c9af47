"""Uploads: tickets for them, what was found in them, and the checks before a job may use one.

With a ticket the bytes never pass through here: a caller writes to the store directly, and the store keeps to
what the ticket says. What is really there is looked at when the caller asks for it or a job names it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.file_bodies import Ticket, TicketBody, UploadRead
from pipeline3d.api.file_kinds import FileKind, check_beginning, ending_of, kind_of
from pipeline3d.api.limits import store_counted
from pipeline3d.api.services import Services
from pipeline3d.errors import (
    BrokenArtifact,
    InvalidParameters,
    LimitReached,
    NotYours,
    RequestError,
    UnusableInput,
)
from pipeline3d.requests import uploads
from pipeline3d.requests.creation import UploadedInput, new_job_id
from pipeline3d.store.contents import HEAD_BYTES, Fingerprint, fingerprint, is_still
from pipeline3d.store.keys import owner_of_upload, sanitise_filename, upload_key

MOST_LISTED = 500
TOO_MANY_TICKETS_RETRY_S = 30.0


async def make_ticket(services: Services, user_id: UUID, body: TicketBody) -> Ticket:
    """Leave for one upload of the caller; or, where the same content is known to be there, its name."""
    kind = kind_of(body.filename, body.content_type)
    limit = limit_of(services, kind)
    if body.size is not None and body.size > limit:
        raise too_large(kind, body.size, limit)
    if body.sha256 is not None:
        same = await find_same_upload(services, user_id, body.sha256, body.content_type, body.filename)
        if same is not None:
            return Ticket(
                id=same.id,
                upload_url=None,
                object_name=same.storage_path,
                expires_in=0,
                max_bytes=limit,
                headers={},
                already_stored=True,
            )
    expires_s = services.settings.upload_url_expires_s
    upload = uploads.NewUpload(
        id=new_job_id(),
        user_id=user_id,
        key=upload_key(user_id, body.filename),
        filename=sanitise_filename(body.filename),
        content_type=body.content_type,
        claimed_size=body.size,
        claimed_sha256=body.sha256,
    )
    most = services.settings.max_open_tickets
    ticket = uploads.open_ticket(upload, expires_s=expires_s, most_open=most)
    if await store_counted(services, user_id, ticket) is None:
        raise LimitReached(
            f"{most} upload tickets of yours are open, which is as many as may be.",
            code="too_many_tickets",
            hint=f"Use them, or wait: a ticket ends after {expires_s} seconds.",
            details={"retry_after_s": min(TOO_MANY_TICKETS_RETRY_S, expires_s)},
        )
    link = services.store.links.for_upload(
        upload.key, expires_s, body.content_type, size=body.size, sha256=body.sha256
    )
    return Ticket(
        id=upload.id,
        upload_url=link.url,
        object_name=upload.key,
        expires_in=expires_s,
        max_bytes=limit,
        headers=link.headers,
        already_stored=False,
    )


async def complete_upload(services: Services, user_id: UUID, upload_id: UUID) -> UploadRead:
    """Read what was uploaded, check it against the ticket and note what it is. Safe to repeat."""
    row = await _read_own(services, user_id, upload_id)
    async with services.transfers.verifications.take(user_id):
        if row.stored_at is not None and await _is_unchanged(services, row):
            await services.first(uploads.give_again(row.id))
            return present_upload(row)
        kind = kind_of(row.filename, row.content_type)
        found = await _read_all(services, row.storage_path, limit_of(services, kind), kind)
    if found.size == 0:
        raise empty_file(kind)
    check_beginning(kind, found.head, row.filename)
    _check_claims(row, found)
    noted = uploads.mark_stored(row.id, size=found.size, sha256=found.sha256, etag=found.etag)
    stored = await services.first(noted)
    if stored is None:
        raise unknown_upload(upload_id)
    return present_upload(stored)


async def read_upload(services: Services, user_id: UUID, upload_id: UUID) -> UploadRead:
    """One upload of the caller."""
    return present_upload(await _read_own(services, user_id, upload_id))


async def list_uploads(
    services: Services, user_id: UUID, *, before: UUID | None, limit: int
) -> list[UploadRead]:
    """The caller's uploads, newest first."""
    rows = await services.all(uploads.list_own_uploads(user_id, before=before, limit=limit))
    return [present_upload(row) for row in rows]


async def delete_upload(services: Services, user_id: UUID, upload_id: UUID) -> None:
    """Remove an upload that no unfinished job names. Its record goes first: no record names what is gone."""
    row = await _read_own(services, user_id, upload_id)
    async with services.transaction() as connection:
        # a request that names it at this moment is seen by the second, or sees that it has gone
        await connection.execute(uploads.hold_records([row.storage_path]))
        forgotten = (await connection.execute(uploads.forget_upload(user_id, upload_id))).first()
    if forgotten is None:
        await _read_own(services, user_id, upload_id)  # somebody may have been faster
        raise RequestError(
            f"A job that has not ended uses upload {upload_id}.",
            code="upload_in_use",
            hint="Wait for its end, or cancel it.",
        )
    await services.ask_store(services.store.remove, forgotten.storage_path)


async def find_same_upload(
    services: Services, user_id: UUID, sha256: str, content_type: str, filename: str
) -> Row[Any] | None:
    """An upload of the same user with this content that is still there as it was verified.

    What a model file is read as depends on its ending: only one with the same ending is the same.
    """
    for row in await services.all(uploads.find_same(user_id, sha256, content_type)):
        if kind_of(filename, content_type) is FileKind.MODEL and ending_of(row.filename) != ending_of(
            filename
        ):
            continue
        # Noted before it is looked at: from then on it is not pruned.
        if await services.first(uploads.give_again(row.id)) is not None and await _is_unchanged(
            services, row
        ):
            return row
    return None


async def check_uploaded_image(services: Services, user_id: UUID, key: str) -> UploadedInput:
    """The picture that the caller uploaded under this key; an error that says what is wrong with it."""
    return await _check_uploaded(services, user_id, key, FileKind.PICTURE)


async def check_uploaded_model(services: Services, user_id: UUID, key: str) -> UploadedInput:
    """The 3D model that the caller uploaded under this key; an error that says what is wrong with it."""
    return await _check_uploaded(services, user_id, key, FileKind.MODEL)


def limit_of(services: Services, kind: FileKind) -> int:
    """How many bytes a file of this kind may have."""
    settings = services.settings
    return settings.max_upload_bytes if kind is FileKind.PICTURE else settings.max_model_bytes


def too_large(kind: FileKind, size: int, limit: int) -> RequestError:
    """What somebody is told who brings too much."""
    return RequestError(
        f"The uploaded {kind} has {size} bytes; at most {limit} are accepted.",
        code="file_too_large",
        hint=f"Upload a smaller {kind}.",
    )


def empty_file(kind: FileKind) -> RequestError:
    """What somebody is told who brings nothing."""
    return InvalidParameters(f"The uploaded {kind} is empty.", code="empty_file", hint="Upload it again.")


def input_not_found(kind: str = "file") -> RequestError:
    """What somebody is told who names an upload that is not there, or is being removed."""
    return InvalidParameters(
        "Nothing was uploaded under input_path yet, or it was removed.",
        code="input_not_found",
        hint=f"PUT the {kind} to the ticket's upload_url first.",
    )


def unknown_upload(upload_id: UUID) -> RequestError:
    """What somebody is told who asks for an upload that they do not have."""
    return RequestError(
        f"There is no upload {upload_id}.",
        code="unknown_upload",
        hint="GET /api/v1/uploads/ lists your uploads.",
    )


def present_upload(row: Row[Any]) -> UploadRead:
    """A row of `uploads`."""
    return UploadRead(**upload_fields(row))


def upload_fields(row: Row[Any]) -> dict[str, Any]:
    """The fields of an upload's wire form."""
    return {
        "id": row.id,
        "object_name": row.storage_path,
        "filename": row.filename,
        "content_type": row.content_type,
        "size": row.file_size_bytes,
        "sha256": row.sha256,
        "verified": row.sha256 is not None,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "stored_at": row.stored_at,
    }


async def _read_own(services: Services, user_id: UUID, upload_id: UUID) -> Row[Any]:
    row = await services.first(uploads.read_own_upload(user_id, upload_id))
    if row is None:
        raise unknown_upload(upload_id)
    return row


async def _is_unchanged(services: Services, row: Row[Any]) -> bool:
    """Whether the object of a verified upload is there as it was verified: a ticket may be used twice."""
    try:
        facts = await services.ask_store(services.store.stat, row.storage_path)
    except BrokenArtifact:
        return False
    return is_still(facts, row.file_size_bytes, row.etag)


async def _read_all(services: Services, key: str, limit: int, kind: FileKind) -> Fingerprint:
    def read() -> Fingerprint:
        return fingerprint(services.store, key, at_most=limit)

    try:
        return await services.transfers.run(read)
    except UnusableInput as error:
        raise RequestError(error.message, code="file_too_large", hint=f"Upload a smaller {kind}.") from error
    except BrokenArtifact as error:
        if error.code == "object_missing":
            raise RequestError(
                "Nothing was uploaded with this ticket yet.",
                code="not_uploaded",
                hint=f"PUT the {kind} to the ticket's upload_url first.",
            ) from error
        raise RequestError(
            "The upload changed while it was read.",
            code="upload_changed",
            hint="Complete it again when nothing is being uploaded any more.",
        ) from error


def _check_claims(row: Row[Any], found: Fingerprint) -> None:
    """The store keeps to the ticket; where another one did not, it is found out here."""
    claims = ((row.claimed_size_bytes, found.size, "bytes"), (row.claimed_sha256, found.sha256, "sha256"))
    for claimed, real, what in claims:
        if claimed is not None and claimed != real:
            raise InvalidParameters(
                f"The ticket was for {what} {claimed}; uploaded were {what} {real}.",
                code="content_mismatch",
                hint="Get a new ticket for what you upload.",
            )


async def _check_uploaded(services: Services, user_id: UUID, key: str, kind: FileKind) -> UploadedInput:
    """An upload's size and type, after a look at its first bytes."""
    limit = limit_of(services, kind)
    if owner_of_upload(key) != user_id:
        raise NotYours(
            "input_path is not an object that you uploaded.",
            code="not_your_object",
            hint="Send the object_name of your own upload ticket.",
        )
    # before the store: a record goes before its object does
    known = await services.directly(uploads.find_named(), the_key=key)
    if not known:
        raise input_not_found(kind)
    try:
        facts = await services.ask_store(services.store.stat, key)
        if facts.size == 0:
            raise empty_file(kind)
        if facts.size > limit:
            raise too_large(kind, facts.size, limit)
        head = await services.ask_store(services.store.read_head, key, HEAD_BYTES)
    except BrokenArtifact as error:
        raise input_not_found(kind) from error
    check_beginning(kind, head, key)
    return UploadedInput(
        key=key, size=facts.size, content_type=facts.content_type, is_recorded=known[0].is_recorded
    )
