"""Who is asking: the `x-api-key` header to an account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyHeader

from pipeline3d.api.services import AppServices, Services
from pipeline3d.errors import NotAuthenticated, NotYours, RequestError
from pipeline3d.requests import accounts
from pipeline3d.requests.accounts import Account
from pipeline3d.values import Scope

API_KEY_HEADER = "x-api-key"
LOGIN_KEY_NAME = "login"

_header = APIKeyHeader(name=API_KEY_HEADER, auto_error=False, description="Get one at /api/v1/auth/login.")


async def require_account(services: AppServices, api_key: Annotated[str | None, Depends(_header)]) -> Account:
    """The caller's account. 401 without a key, 403 with one that is unknown, revoked or past its end."""
    if not api_key:
        raise NotAuthenticated(
            f"The header {API_KEY_HEADER} with an API key is missing.",
            hint="Get a key at /api/v1/auth/login.",
        )
    row = await services.first(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(api_key))
    if row is None:
        raise NotAuthenticated(
            "The API key is not known, no longer valid, or its user is inactive.",
            code="invalid_api_key",
            hint="Get a new key at /api/v1/auth/login.",
        )
    if row.use_is_stale:
        await services.execute(accounts.touch_key(row.key_id))
    return accounts.account_of_row(row)


CurrentAccount = Annotated[Account, Depends(require_account)]
"""Anybody who is known; what this key may do is not asked."""


def allowed(scope: Scope) -> Callable[[Account], Account]:
    """A dependency that gives the caller's account where key or session may do this, and refuses others."""

    def require_scope(account: CurrentAccount) -> Account:
        if scope not in account.scopes:
            raise NotYours(
                f"This needs the scope {scope.value}, which your key or role does not have.",
                code="missing_scope",
                hint="Use a key with that scope, or ask an administrator for the role.",
            )
        return account

    return require_scope


Reader = Annotated[Account, Depends(allowed(Scope.JOBS_READ))]
Writer = Annotated[Account, Depends(allowed(Scope.JOBS_WRITE))]


async def log_in(services: Services, username: str, password: str) -> str:
    """A new key for a user, valid for some hours. An unknown user and a wrong password are answered alike."""
    user = await services.first(accounts.find_user(username))
    password_hash = None if user is None else user.password_hash
    if not await services.check_password(accounts.is_password, password, password_hash) or user is None:
        raise NotAuthenticated("The user name or the password is wrong.", code="login_failed")
    if not user.is_active:
        raise RequestError("The user is inactive.", code="inactive_user", hint="Ask an administrator.")
    key = accounts.generate_api_key()
    await services.execute(
        accounts.create_api_key(
            user.id, key, name=LOGIN_KEY_NAME, expires_s=services.settings.login_key_expires_s
        )
    )
    return key
