"""Who is asking: a key or a session to an account, what it may do, and how often it may ask."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.security import APIKeyHeader
from starlette.requests import HTTPConnection

from pipeline3d.api.account_cache import Found
from pipeline3d.api.audit import note_connection
from pipeline3d.api.callers import (
    API_KEY_HEADER,
    CSRF_HEADER,
    SAFE_METHODS,
    Credential,
    CredentialKind,
    find_credential,
    is_same_origin,
)
from pipeline3d.api.compatibility import note_compatibility
from pipeline3d.api.rates import Rate, Standing
from pipeline3d.api.services import AppServices, Services
from pipeline3d.errors import LimitReached, NotAuthenticated, NotYours
from pipeline3d.requests import accounts, sessions
from pipeline3d.requests.accounts import Account
from pipeline3d.values import Scope

_header = APIKeyHeader(
    name=API_KEY_HEADER,
    auto_error=False,
    description="A key of /api/v1/keys or /api/v1/auth/login; `Authorization: Bearer` takes it too. Pages of "
    "this service use the cookie of /api/v1/auth/session and send X-CSRF-Token with every change. Of several "
    "the first of these counts.",
)


async def require_account(
    request: Request,
    services: AppServices,
    response: Response,
    _documented: Annotated[str | None, Depends(_header)],
) -> Account:
    """The caller's account.

    401 without a key or session and with a session that has ended; 403 with a key that is unknown, revoked or
    past its end, and with a change from a page that is not ours; 429 beyond the limit of requests.
    """
    account = await authenticate(services, request)
    note_connection(request)
    note_compatibility(request, account.compatibility)
    standing = await services.rates.hit(_rates_of(account, services.settings.requests_per_minute))
    if standing is not None:
        headers = _describe(standing)
        if not standing.allowed:
            raise LimitReached(
                f"More than {standing.per_minute} requests came within a minute.",
                code="rate_limited",
                hint="Wait as long as Retry-After says.",
                details={"retry_after_s": standing.reset_s, "headers": headers},
            )
        response.headers.update(headers)
    return account


CurrentAccount = Annotated[Account, Depends(require_account)]
"""Anybody who is known; what this key may do is not asked."""


async def authenticate(services: Services, connection: HTTPConnection) -> Account:
    """The account of what a connection brings; of a page's changes only with its token. WebSockets too."""
    credential = find_credential(connection)
    if credential is None:
        raise NotAuthenticated(
            f"The header {API_KEY_HEADER} with an API key is missing.",
            hint="Get a key at /api/v1/auth/login.",
        )
    if credential.kind is CredentialKind.KEY:
        return await _find_user_of_key(services, credential)
    account = await find_user_of_session(services, credential)
    _check_origin(services, connection, account)
    return account


def allowed(scope: Scope) -> Callable[[Account], Awaitable[Account]]:
    """A dependency that gives the caller's account where key or session may do this, and refuses others."""

    # A coroutine although it awaits nothing: FastAPI sends any other dependency through a thread.
    async def require_scope(account: CurrentAccount) -> Account:
        check_scope(account, scope)
        return account

    return require_scope


def check_scope(account: Account, scope: Scope) -> None:
    """Refuse a caller whose key or session may not do this."""
    if scope not in account.scopes:
        raise NotYours(
            f"This needs the scope {scope.value}, which your key or role does not have.",
            code="missing_scope",
            hint="Use a key with that scope, or ask an administrator for the role.",
        )


Reader = Annotated[Account, Depends(allowed(Scope.JOBS_READ))]
Writer = Annotated[Account, Depends(allowed(Scope.JOBS_WRITE))]
KeyKeeper = Annotated[Account, Depends(allowed(Scope.KEYS_WRITE))]
Administrator = Annotated[Account, Depends(allowed(Scope.ADMIN))]


async def find_user_of_session(services: Services, credential: Credential) -> Account:
    """The account of a session's token; 401 where the session has ended."""
    the_hash = accounts.hash_api_key(credential.secret)

    async def ask() -> Found | None:
        row = await services.first(
            sessions.find_user_of_session(), the_hash=the_hash, idle_s=services.settings.session_idle_s
        )
        if row is None:
            return None
        if row.use_is_stale:
            await services.execute(sessions.touch_session(row.session_id))
        return Found(account=accounts.account_of_row(row), seconds_left=row.seconds_left)

    account = await services.access.find(f"session {the_hash}", ask)
    if account is None:
        raise NotAuthenticated("The session has ended.", code="session_ended", hint="Sign in again.")
    return account


async def _find_user_of_key(services: Services, credential: Credential) -> Account:
    the_hash = accounts.hash_api_key(credential.secret)

    async def ask() -> Found | None:
        row = await services.first(accounts.find_user_of_key(), the_hash=the_hash)
        if row is None:
            return None
        if row.use_is_stale:
            await services.execute(accounts.touch_key(row.key_id))
        return Found(account=accounts.account_of_row(row), seconds_left=row.seconds_left)

    account = await services.access.find(the_hash, ask)
    if account is None:
        raise NotAuthenticated(
            "The API key is not known, no longer valid, or its user is inactive.",
            code="invalid_api_key",
            hint="Get a new key at /api/v1/auth/login.",
        )
    return account


def _check_origin(services: Services, connection: HTTPConnection, account: Account) -> None:
    """Refuse what another site has a browser do: a cookie goes along with that too."""
    if connection.scope["type"] == "http" and connection.scope["method"] in SAFE_METHODS:
        return
    # a WebSocket cannot carry the token, but always says where its page is from
    token = connection.headers.get(CSRF_HEADER, "")
    has_token = connection.scope["type"] == "websocket" or sessions.is_csrf_token(
        token, account.csrf_hash or ""
    )
    if not (has_token and is_same_origin(connection, services.settings)):
        raise NotYours(
            "A change with the session cookie needs the header X-CSRF-Token, and a page of this service that "
            "makes it.",
            code="csrf_failed",
            hint="Send the csrf_token that GET /api/v1/auth/session answers, or use an API key.",
        )


def _rates_of(account: Account, default: int) -> list[Rate]:
    rates = []
    if of_user := account.limits.requests_per_minute or default:
        rates.append(Rate(owner=f"user:{account.id}", per_minute=of_user))
    if of_key := account.key_limits.requests_per_minute:
        rates.append(Rate(owner=f"key:{account.key_id}", per_minute=of_key))
    return rates


def _describe(standing: Standing) -> dict[str, str]:
    return {
        "RateLimit-Limit": str(standing.per_minute),
        "RateLimit-Remaining": str(standing.remaining),
        "RateLimit-Reset": str(math.ceil(standing.reset_s)),
    }
