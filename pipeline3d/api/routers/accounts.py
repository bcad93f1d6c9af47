"""Signing in, and who one is."""

from __future__ import annotations

from fastapi import Request, Response

from pipeline3d.api.auth import CurrentAccount
from pipeline3d.api.bodies import LoginAnswer, LoginBody, UserRead
from pipeline3d.api.compatibility import CompatibleRoute
from pipeline3d.api.login import log_in
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices

router = Router(route_class=CompatibleRoute, prefix=API_PREFIX, tags=["accounts"])


@router.post("/auth/login")
@router.post("/users/login", include_in_schema=False)
async def login(body: LoginBody, services: AppServices, request: Request, response: Response) -> LoginAnswer:
    """A new API key, valid for some hours."""
    key = await log_in(services, request, body.username, body.password)
    response.headers["Cache-Control"] = "no-store"
    return LoginAnswer(
        api_key=key,
        username=body.username,
        message="Signed in.",
        expires_in=services.settings.login_key_expires_s,
    )


@router.get("/users/me")
@router.get("/auth/me", include_in_schema=False)
async def me(account: CurrentAccount) -> UserRead:
    """The account of the key."""
    return UserRead(
        id=account.id,
        username=account.username,
        is_active=account.is_active,
        is_superuser=account.is_superuser,
    )
