"""Tickets for uploads."""

from __future__ import annotations

from fastapi import APIRouter

from pipeline3d.api.auth import Writer
from pipeline3d.api.bodies import Ticket, TicketBody
from pipeline3d.api.services import AppServices
from pipeline3d.api.uploads import make_ticket

router = APIRouter(tags=["jobs"])


@router.post("/jobs/upload-ticket")
@router.post("/jobs/upload-ticket/", include_in_schema=False)
async def upload_ticket(body: TicketBody, account: Writer, services: AppServices) -> Ticket:
    """Leave to PUT one picture or model into the object store."""
    return make_ticket(services, account.id, body.filename, body.content_type)
