"""The Dagster UI behind a sign-in: /dagster for operators, /lineage to look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote

import anyio
import httpx
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import RedirectResponse
from starlette.requests import HTTPConnection
from starlette.responses import Response

from pipeline3d.api import dagster_access, dagster_proxy
from pipeline3d.api.dagster_proxy import DagsterUi
from pipeline3d.api.services import Services
from pipeline3d.errors import NotAuthenticated, Pipeline3dError


@asynccontextmanager
async def _connections(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with dagster_proxy.build_client() as client:
        yield {
            "dagster_client": client,
            "dagster_subscriptions": anyio.CapacityLimiter(dagster_proxy.MOST_SUBSCRIPTIONS),
        }


router = APIRouter(include_in_schema=False, lifespan=_connections)

METHODS = ["GET", "HEAD", "POST"]


async def _find_ui(connection: HTTPConnection) -> DagsterUi:
    services: Services = connection.app.state.services
    return dagster_proxy.find_uis(services.settings)[connection.url.path.split("/")[1]]


AskedUi = Annotated[DagsterUi, Depends(_find_ui)]


@router.api_route("/dagster", methods=METHODS)
@router.api_route("/dagster/{path:path}", methods=METHODS)
@router.api_route("/lineage", methods=METHODS)
@router.api_route("/lineage/{path:path}", methods=METHODS)
async def show_ui(request: Request, ui: AskedUi) -> Response:
    """What Dagster's webserver answers, for whoever may see it; a person without a session signs in first."""
    try:
        await dagster_access.let_in(request.app.state.services, request, ui.scope)
    except NotAuthenticated:
        if not dagster_access.is_page_view(request):
            raise
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/studio?next={quote(wanted, safe='')}", 303, {"Cache-Control": "no-store"})
    client: httpx.AsyncClient = request.state.dagster_client
    return await dagster_proxy.forward(client, ui, request)


@router.websocket("/dagster/graphql")
@router.websocket("/lineage/graphql")
async def subscribe(socket: WebSocket, ui: AskedUi) -> None:
    """Dagster's subscriptions, as long as the caller may see them."""
    services: Services = socket.app.state.services
    try:
        await dagster_access.let_in(services, socket, ui.scope)
    except Pipeline3dError:
        await socket.close(1008)  # before it is accepted this is an answer 403
        return
    places: anyio.CapacityLimiter = socket.state.dagster_subscriptions
    try:
        places.acquire_on_behalf_of_nowait(socket)
    except anyio.WouldBlock:
        await socket.close(1013)
        return
    try:
        await _pass_while_allowed(services, socket, ui)
    finally:
        places.release_on_behalf_of(socket)


async def _pass_while_allowed(services: Services, socket: WebSocket, ui: DagsterUi) -> None:
    passing = asyncio.create_task(dagster_proxy.forward_socket(ui, socket))
    watching = asyncio.create_task(dagster_access.wait_until_shut_out(services, socket, ui.scope))
    await asyncio.wait((passing, watching), return_when=asyncio.FIRST_COMPLETED)
    for task in (passing, watching):
        task.cancel()
    await asyncio.gather(passing, watching, return_exceptions=True)
