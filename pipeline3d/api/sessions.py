"""Sessions of people at a browser: begun with a password, shown, ended."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row
from starlette.requests import Request
from starlette.responses import Response

from pipeline3d.api.access_forms import SessionListed, SessionRead
from pipeline3d.api.audit import build_line
from pipeline3d.api.auth import find_user_of_session
from pipeline3d.api.callers import (
    SESSION_COOKIE,
    Credential,
    CredentialKind,
    is_same_origin,
    is_secure,
)
from pipeline3d.api.login import check_login, login_failed
from pipeline3d.api.services import Services
from pipeline3d.errors import NotAuthenticated, NotYours
from pipeline3d.requests import accounts, keys, sessions
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.audit import Action, audited


async def sign_in(
    services: Services, request: Request, response: Response, username: str, password: str
) -> SessionRead:
    """Begin a session: its cookie goes with the response. Ends the one that the browser had."""
    if is_same_origin(request, services.settings) is False:
        raise NotYours("Only a page of this service can begin a session.", code="csrf_failed")
    user = await check_login(services, request, username, password)
    account = accounts.account_of_row(user)
    made = sessions.generate_session()
    lifetime_s = services.settings.session_lifetime_s
    created = sessions.create_session(
        user.id,
        made,
        user_agent=request.headers.get("user-agent", ""),
        lifetime_s=lifetime_s,
        password_hash=user.password_hash,
    ).cte("created")
    row = await services.first(
        audited(created, build_line(services, account, Action.SIGNED_IN, f"user:{user.id}"))
    )
    if row is None:
        raise login_failed()
    await _end_former(services, request)
    response.set_cookie(
        SESSION_COOKIE,
        made.token,
        max_age=lifetime_s,
        httponly=True,
        samesite="lax",
        secure=is_secure(request, services.settings),
        path="/",
    )
    return _present(account, made.csrf_token, row)


async def read_current(services: Services, request: Request) -> SessionRead:
    """The session that the cookie opens, with the token that a page must send along."""
    token = request.cookies.get(SESSION_COOKIE)
    if not token:
        raise NotAuthenticated(
            "There is no session.", code="no_session", hint="POST /api/v1/auth/session begins one."
        )
    account = await find_user_of_session(services, Credential(kind=CredentialKind.SESSION, secret=token))
    assert account.session_id is not None
    row = await services.first(sessions.read_session(account.session_id))
    assert row is not None
    return _present(account, sessions.csrf_token_of(token), row)


async def sign_out(services: Services, account: Account, response: Response) -> None:
    """End the session that asks, and have the browser forget its cookie."""
    if account.session_id is None:
        raise NotAuthenticated(
            "A key has no session to end.", code="no_session", hint="DELETE /api/v1/keys/{id} revokes a key."
        )
    await end_sessions(services, account, only=account.session_id, action=Action.SIGNED_OUT)
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax")


async def list_sessions(services: Services, account: Account) -> list[SessionListed]:
    """The caller's sessions."""
    rows = await services.all(sessions.list_sessions(account.id, services.settings.session_idle_s))
    return [SessionListed(**row._mapping, current=row.id == account.session_id) for row in rows]


async def end_sessions(
    services: Services,
    account: Account,
    *,
    only: UUID | None = None,
    but: UUID | None = None,
    action: Action = Action.SESSIONS_ENDED,
) -> int:
    """End sessions of the caller: one, all, or all but one; how many there were."""
    ended = sessions.end_sessions(account.id, only=only, but=but).cte("ended")
    rows = await services.all(audited(ended, build_line(services, account, action)))
    services.access.forget()
    return len(rows)


async def change_password(
    services: Services, request: Request, account: Account, current: str, new: str
) -> None:
    """Give the caller another password; ends all other sessions and the keys of earlier logins."""
    user = await check_login(services, request, account.username, current)
    new_hash = await services.check_password(accounts.hash_password, new)
    changed = accounts.set_password(account.id, new_hash, former=user.password_hash).cte("changed")
    ended = sessions.end_sessions(account.id, but=account.session_id).cte("ended")
    told = build_line(services, account, Action.PASSWORD_CHANGED, f"user:{account.id}")
    row = await services.together(
        # first: a sign-in that is under way either finds the new password, or is done before the rest begins
        audited(changed, told),
        audited(ended, build_line(services, account, Action.SESSIONS_ENDED)),
        keys.revoke_named_keys(account.id, accounts.LOGIN_KEY_NAME, but=account.key_id),
    )
    if row is None:
        raise login_failed()  # somebody was faster with the same password
    services.access.forget()


async def _end_former(services: Services, request: Request) -> None:
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        await services.execute(sessions.end_session_of(accounts.hash_api_key(token)))
        services.access.forget()


def _present(account: Account, csrf_token: str, row: Row[Any]) -> SessionRead:
    return SessionRead(
        username=account.username,
        role=account.role,
        scopes=sorted(account.scopes),
        csrf_token=csrf_token,
        expires_at=row.expires_at,
    )
