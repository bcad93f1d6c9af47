"""Files that callers bring: by a ticket for the object store, or with the request itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from pipeline3d.api import upload_forms
from pipeline3d.api import uploads as api
from pipeline3d.api.auth import Reader, Writer
from pipeline3d.api.compatibility import CompatibleRoute
from pipeline3d.api.file_bodies import Ticket, TicketBody, UploadAnswer, UploadRead
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices

router = Router(route_class=CompatibleRoute, prefix=API_PREFIX, tags=["uploads"])


@router.post("/jobs/upload-ticket")
@router.post("/uploads/ticket")
async def upload_ticket(body: TicketBody, account: Writer, services: AppServices) -> Ticket:
    """Leave to PUT one picture or model into the object store."""
    return await api.make_ticket(services, account.id, body)


@router.post(
    "/uploads/",
    status_code=HTTPStatus.CREATED,
    responses={200: {"model": UploadAnswer, "description": "The same content was there already."}},
    openapi_extra=upload_forms.FORM_SCHEMA,
)
async def upload_directly(
    request: Request, account: Writer, services: AppServices, response: Response
) -> UploadAnswer:
    """Store one small file that comes in the form itself; a larger one takes a ticket."""
    answer = await upload_forms.receive_upload(services, account.id, request)
    if answer.already_stored:
        response.status_code = HTTPStatus.OK
    return answer


@router.get("/uploads/")
async def list_uploads(
    account: Reader,
    services: AppServices,
    limit: Annotated[int, Query(ge=1, le=api.MOST_LISTED)] = 50,
    before: Annotated[UUID | None, Query(description="Only uploads that are older than this one.")] = None,
) -> list[UploadRead]:
    """One's own uploads, newest first. Go on with `before`, the last id of the page before."""
    return await api.list_uploads(services, account.id, before=before, limit=limit)


@router.get("/uploads/{upload_id}")
async def read_upload(upload_id: UUID, account: Reader, services: AppServices) -> UploadRead:
    """One upload."""
    return await api.read_upload(services, account.id, upload_id)


@router.post("/uploads/{upload_id}/complete")
async def complete_upload(upload_id: UUID, account: Writer, services: AppServices) -> UploadRead:
    """Verify what was uploaded with a ticket: it is read, hashed and checked against what was said."""
    return await api.complete_upload(services, account.id, upload_id)


@router.delete("/uploads/{upload_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_upload(upload_id: UUID, account: Writer, services: AppServices) -> None:
    """Remove an upload. One that an unfinished job uses stays."""
    await api.delete_upload(services, account.id, upload_id)
