"""What administrators see and change. Every route needs the scope admin."""

from __future__ import annotations

from datetime import date, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime, StringConstraints

from pipeline3d.api import admin
from pipeline3d.api.access_forms import (
    AdminJobPage,
    AdminUserChange,
    AdminUserCreate,
    AdminUserRead,
    AuditPage,
    KeyRead,
    UsageReport,
    UserPage,
)
from pipeline3d.api.auth import Administrator
from pipeline3d.api.bodies import Text
from pipeline3d.api.list_forms import AdminJobQuery
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices
from pipeline3d.errors import InvalidParameters

router = Router(prefix=f"{API_PREFIX}/admin", tags=["admin"])

Limit = Annotated[int, Query(ge=1, le=500)]
Words = Annotated[Text, StringConstraints(max_length=200)]
Id = Annotated[int, Query(ge=1, le=2**63 - 1)]
Month = Annotated[str, Query(pattern=r"^\d{4}-\d{2}$", description="As 2026-03; this month, if not given.")]


@router.get("/users")
async def list_users(
    _admin: Administrator,
    services: AppServices,
    limit: Limit = 100,
    after: Annotated[Words | None, Query(description="The `next` of the page before.")] = None,
    search: Annotated[Words | None, Query(description="A part of the name.")] = None,
) -> UserPage:
    """Users by name."""
    return await admin.list_users(services, limit=limit, after=after, search=search)


@router.post("/users", status_code=HTTPStatus.CREATED)
async def create_user(body: AdminUserCreate, account: Administrator, services: AppServices) -> AdminUserRead:
    """A new user."""
    return await admin.create_user(services, account, body)


@router.get("/users/{user_id}")
async def read_user(user_id: UUID, _admin: Administrator, services: AppServices) -> AdminUserRead:
    """One user."""
    return await admin.read_user(services, user_id)


@router.patch("/users/{user_id}")
async def change_user(
    user_id: UUID, body: AdminUserChange, account: Administrator, services: AppServices
) -> AdminUserRead:
    """Change what is sent: role, limits, compatibility, password. Inactive ends keys and sessions."""
    return await admin.change_user(services, account, user_id, body)


@router.get("/users/{user_id}/keys")
async def list_keys(
    user_id: UUID,
    _admin: Administrator,
    services: AppServices,
    ended: Annotated[bool, Query(description="Also those that open nothing any more.")] = False,
) -> list[KeyRead]:
    """The keys of a user."""
    return await admin.list_keys(services, user_id, with_ended=ended)


@router.delete("/users/{user_id}/keys/{key_id}")
async def revoke_key(user_id: UUID, key_id: UUID, account: Administrator, services: AppServices) -> KeyRead:
    """Revoke a key of a user."""
    return await admin.revoke_key(services, account, user_id, key_id)


@router.get("/jobs")
async def list_jobs(
    _admin: Administrator,
    services: AppServices,
    query: Annotated[AdminJobQuery, Query()],
) -> AdminJobPage:
    """The jobs of all users, the newest first, with the filters of one's own list; `next` is `before`."""
    return await admin.list_jobs(services, query)


@router.get("/usage")
async def report_usage(
    _admin: Administrator, services: AppServices, month: Month | None = None
) -> UsageReport:
    """What the users' jobs of a month were, and cost."""
    return await admin.report_usage(services, None if month is None else _first_day(month))


@router.get("/audit")
async def list_audit(
    _admin: Administrator,
    services: AppServices,
    limit: Limit = 100,
    before: Annotated[Id | None, Query(description="The `next` of the page before.")] = None,
    actor: Annotated[Words | None, Query(description="The name of a user.")] = None,
    action: Annotated[Words | None, Query(description="As key.created, or all of key.")] = None,
    subject: Annotated[Words | None, Query(description="As job:0199…")] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> AuditPage:
    """Who did what, the newest first."""
    moments: dict[str, datetime | None] = {"since": since, "until": until}
    return await admin.list_audit(
        services, limit=limit, before=before, actor=actor, action=action, subject=subject, **moments
    )


def _first_day(month: str) -> date:
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise InvalidParameters(
            f"{month!r} is no month.", code="invalid_month", hint="Write it as 2026-03."
        ) from None
