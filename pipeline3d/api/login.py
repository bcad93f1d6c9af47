"""Signing in with a name and a password, and how often that may be tried."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from starlette.requests import Request

from pipeline3d.api.audit import build_line, note_connection
from pipeline3d.api.callers import client_address, throttled_address
from pipeline3d.api.compatibility import note_compatibility
from pipeline3d.api.services import Services
from pipeline3d.errors import LimitReached, NotAuthenticated, RequestError
from pipeline3d.requests import accounts, logins
from pipeline3d.requests.audit import Action, audited, write_line
from pipeline3d.requests.logins import LoginLimits


async def check_login(services: Services, request: Request, username: str, password: str) -> Row[Any]:
    """The user of this name and password. An unknown user and a wrong password are answered alike.

    401 `login_failed`, 400 `inactive_user`, 429 `too_many_logins`.
    """
    note_connection(request)
    attempt_id = await _note_attempt(services, request, username)
    user = await services.first(accounts.find_user(username))
    password_hash = None if user is None else user.password_hash
    if not await services.check_password(accounts.is_password, password, password_hash) or user is None:
        # A name that nobody has is not written down: it may be a password in the wrong field.
        subject = "" if user is None else f"user:{user.id}"
        await services.execute(write_line(build_line(services, None, Action.LOGIN_FAILED, subject)))
        raise login_failed()
    await services.execute(logins.note_success(attempt_id))
    note_compatibility(request, user.compatibility)
    if not user.is_active:
        raise RequestError("The user is inactive.", code="inactive_user", hint="Ask an administrator.")
    return user


def login_failed() -> NotAuthenticated:
    """What somebody is told who does not get in, whatever was wrong."""
    return NotAuthenticated("The user name or the password is wrong.", code="login_failed")


async def log_in(services: Services, request: Request, username: str, password: str) -> str:
    """A new key for a user, valid for some hours."""
    user = await check_login(services, request, username, password)
    key = accounts.generate_api_key()
    expires_s = services.settings.login_key_expires_s
    created = accounts.create_login_key(user.id, key, password_hash=user.password_hash, expires_s=expires_s)
    line = build_line(services, accounts.account_of_row(user), Action.LOGGED_IN, f"user:{user.id}")
    if await services.first(audited(created.cte("created"), line)) is None:
        raise login_failed()
    return key


async def _note_attempt(services: Services, request: Request, username: str) -> int:
    settings = services.settings
    limits = LoginLimits(
        per_user=settings.login_attempts_per_user,
        per_address=settings.login_attempts_per_address,
        window_s=settings.login_window_s,
    )
    address = throttled_address(client_address(request, settings))
    noted = await services.first(logins.note_attempt(username, address, limits))
    assert noted is not None
    if noted.id is None:
        raise LimitReached(
            "Too many logins have failed for this user name or from this address.",
            code="too_many_logins",
            hint="Wait as long as Retry-After says. Keys and sessions go on working.",
            details={"retry_after_s": noted.retry_after_s},
        )
    attempt_id: int = noted.id
    return attempt_id
