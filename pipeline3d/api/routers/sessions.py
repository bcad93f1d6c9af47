"""Sessions of the studio page, and one's own password."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from fastapi import Request, Response

from pipeline3d.api import sessions
from pipeline3d.api.access_forms import EndedRead, PasswordBody, SessionListed, SessionRead
from pipeline3d.api.auth import CurrentAccount, KeyKeeper
from pipeline3d.api.bodies import LoginBody
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices

router = Router(prefix=f"{API_PREFIX}/auth", tags=["accounts"])


@router.post("/session")
async def sign_in(
    body: LoginBody, services: AppServices, request: Request, response: Response
) -> SessionRead:
    """Begin a session for a page of this service: a cookie, and the token against forged requests."""
    response.headers["Cache-Control"] = "no-store"
    return await sessions.sign_in(services, request, response, body.username, body.password)


@router.get("/session")
async def read_session(services: AppServices, request: Request) -> SessionRead:
    """The session of the cookie; 401 where there is none."""
    return await sessions.read_current(services, request)


@router.delete("/session", status_code=HTTPStatus.NO_CONTENT)
async def sign_out(account: CurrentAccount, services: AppServices, response: Response) -> None:
    """End the session of the cookie."""
    await sessions.sign_out(services, account, response)


@router.get("/sessions")
async def list_sessions(account: KeyKeeper, services: AppServices) -> list[SessionListed]:
    """One's own sessions, the newest first."""
    return await sessions.list_sessions(services, account)


@router.delete("/sessions")
async def end_other_sessions(account: KeyKeeper, services: AppServices) -> EndedRead:
    """End all of one's own sessions but the one that asks."""
    return EndedRead(ended=await sessions.end_sessions(services, account, but=account.session_id))


@router.delete("/sessions/{session_id}")
async def end_session(session_id: UUID, account: KeyKeeper, services: AppServices) -> EndedRead:
    """End one of one's own sessions; 0 where there is none of that id, or it had ended."""
    return EndedRead(ended=await sessions.end_sessions(services, account, only=session_id))


@router.post("/password", status_code=HTTPStatus.NO_CONTENT)
async def change_password(
    body: PasswordBody, account: KeyKeeper, services: AppServices, request: Request
) -> None:
    """Change one's own password. Ends one's other sessions and the keys of earlier logins."""
    await sessions.change_password(services, request, account, body.current_password, body.new_password)
