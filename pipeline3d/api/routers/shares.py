"""Share links: a job's owner makes and ends them, anybody who has one uses it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from pipeline3d.api import sharing
from pipeline3d.api.audit import audit
from pipeline3d.api.auth import Reader, allowed
from pipeline3d.api.downloads import Inline
from pipeline3d.api.file_bodies import ShareBody, SharedRead, ShareMade, ShareRead
from pipeline3d.api.routers.artifacts import KeyPart
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices
from pipeline3d.api.share_page import build_policy, render_missing, render_page
from pipeline3d.api.viewing import read_own_job
from pipeline3d.errors import RequestError
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.audit import Action
from pipeline3d.values import Scope

router = Router(prefix=f"{API_PREFIX}/jobs", tags=["shares"])
public_router = Router(prefix="/s", tags=["shares"])

Sharer = Annotated[Account, Depends(allowed(Scope.SHARES_WRITE))]


@router.post("/{job_id}/shares", status_code=HTTPStatus.CREATED)
async def create_share(job_id: UUID, body: ShareBody, account: Sharer, services: AppServices) -> ShareMade:
    """A stable link to what the job made, for people without an account. Shown this once."""
    job = await read_own_job(services, account, job_id)
    made = await sharing.create_share(services, account.id, job, body)
    told = {"job": str(job_id), "scope": body.scope, "expires_in_s": body.expires_in_s}
    await audit(services, account, Action.SHARE_CREATED, f"share:{made.id}", told)
    return made


@router.get("/{job_id}/shares")
async def list_shares(job_id: UUID, account: Reader, services: AppServices) -> list[ShareRead]:
    """The job's share links, newest first."""
    return await sharing.list_shares(services, await read_own_job(services, account, job_id))


@router.delete("/{job_id}/shares/{share_id}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_share(job_id: UUID, share_id: UUID, account: Sharer, services: AppServices) -> None:
    """End a share link at once."""
    await sharing.revoke_share(services, await read_own_job(services, account, job_id), share_id)
    await audit(services, account, Action.SHARE_REVOKED, f"share:{share_id}", {"job": str(job_id)})


@public_router.get(
    "/{token}", response_class=HTMLResponse, responses={200: {"model": SharedRead, "description": "As JSON."}}
)
async def show_share(
    token: str,
    request: Request,
    services: AppServices,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """What was shared: a page, or JSON where Accept names it."""
    headers = {**sharing.PUBLIC_HEADERS, "Vary": "Accept"}
    page_headers = {**headers, "Content-Security-Policy": build_policy(services.store.public_origin)}
    try:
        shared = await sharing.visit_page(services, request, token)
    except RequestError as error:
        if error.code != sharing.UNKNOWN_SHARE or "text/html" not in accept:
            raise
        return HTMLResponse(render_missing(error.message), HTTPStatus.NOT_FOUND, page_headers)
    if "application/json" in accept and "text/html" not in accept:
        return JSONResponse(shared.model_dump(mode="json"), headers=headers)
    return HTMLResponse(render_page(shared, services.settings.project_name), headers=page_headers)


@public_router.get("/{token}/{name}", response_class=RedirectResponse, status_code=HTTPStatus.FOUND)
async def open_shared(
    token: str, name: KeyPart, request: Request, services: AppServices, inline: Inline = False
) -> RedirectResponse:
    """To the one shared file of this name."""
    return await sharing.visit_file(services, request, token, None, name, inline=inline)


@public_router.get("/{token}/{asset}/{name}", response_class=RedirectResponse, status_code=HTTPStatus.FOUND)
async def open_shared_of(
    token: str,
    asset: KeyPart,
    name: KeyPart,
    request: Request,
    services: AppServices,
    inline: Inline = False,
) -> RedirectResponse:
    """To one shared file of an asset."""
    return await sharing.visit_file(services, request, token, asset, name, inline=inline)
