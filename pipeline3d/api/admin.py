"""What administrators do: users, their keys, what was used, who did what."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from pipeline3d.api.access_forms import (
    AdminJobPage,
    AdminJobRead,
    AdminUserChange,
    AdminUserCreate,
    AdminUserRead,
    AuditPage,
    AuditRead,
    KeyRead,
    UsageRead,
    UsageReport,
    UserPage,
)
from pipeline3d.api.audit import build_line
from pipeline3d.api.keys import present_key
from pipeline3d.api.limits import count_anew
from pipeline3d.api.list_forms import AdminJobQuery
from pipeline3d.api.listing import search
from pipeline3d.api.services import Services
from pipeline3d.errors import RequestError
from pipeline3d.requests import accounts, keys, users
from pipeline3d.requests import audit as audit_log
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.audit import Action
from pipeline3d.requests.quotas import LIMITS
from pipeline3d.values import Role

QUOTAS = frozenset({*LIMITS, "max_concurrent_jobs"})


async def list_users(services: Services, *, limit: int, after: str | None, search: str | None) -> UserPage:
    """Users by name."""
    rows = await services.all(users.list_users(limit=limit + 1, after=after, search=search))
    page = [AdminUserRead(**row._mapping) for row in rows[:limit]]
    return UserPage(users=page, next=page[-1].username if len(rows) > limit else None)


async def read_user(services: Services, user_id: UUID) -> AdminUserRead:
    """One user."""
    row = await services.first(users.read_user(user_id))
    if row is None:
        raise RequestError(f"There is no user {user_id}.", code="unknown_user")
    return AdminUserRead(**row._mapping)


async def create_user(services: Services, account: Account, body: AdminUserCreate) -> AdminUserRead:
    """A new user."""
    values = body.model_dump(exclude={"username", "password"})
    password_hash = await services.check_password(accounts.hash_password, body.password)
    told = {"username": body.username, "role": body.role.value}
    line = build_line(services, account, Action.USER_CREATED, details=told)
    row = await services.first(users.add_user(body.username, password_hash, values, line))
    if row is None:
        raise RequestError(
            f"There is a user {body.username!r} already.", code="user_exists", hint="Choose another name."
        )
    return AdminUserRead(**row._mapping)


async def change_user(
    services: Services, account: Account, user_id: UUID, body: AdminUserChange
) -> AdminUserRead:
    """Change what was sent of a user. Deactivating ends sessions and keys, another password sessions and the
    keys of logins."""
    sent = body.model_dump(exclude_unset=True)
    if user_id == account.id and (
        sent.get("is_active") is False or sent.get("role", Role.ADMIN) != Role.ADMIN
    ):
        raise RequestError(
            "You cannot take your own rights away.", code="not_yourself", hint="Another administrator can."
        )
    told: dict[str, Any] = {name: value for name, value in sent.items() if name != "password"}
    if "password" in sent:
        sent["password_hash"] = await services.check_password(accounts.hash_password, sent.pop("password"))
        told["password"] = "changed"
    action = Action.QUOTA_CHANGED if sent and sent.keys() <= QUOTAS else Action.USER_CHANGED
    line = build_line(services, account, action, f"user:{user_id}", told)
    row = await services.together(users.change_user(user_id, sent, line), *users.end_access(user_id, sent))
    services.access.forget()
    if row is None:
        raise RequestError(f"There is no user {user_id}.", code="unknown_user")
    if "monthly_cost_units" in sent:
        await count_anew(services, user_id, user_id)
    return AdminUserRead(**row._mapping)


async def list_keys(services: Services, user_id: UUID, *, with_ended: bool) -> list[KeyRead]:
    """The keys of a user."""
    await read_user(services, user_id)
    rows = await services.all(keys.list_keys(user_id, with_ended=with_ended))
    return [present_key(row) for row in rows]


async def revoke_key(services: Services, account: Account, user_id: UUID, key_id: UUID) -> KeyRead:
    """End a key of a user at once."""
    if await services.first(keys.read_key(key_id, user_id)) is None:
        raise RequestError(f"User {user_id} has no key {key_id}.", code="unknown_key")
    line = build_line(services, account, Action.KEY_REVOKED, details={"user": str(user_id)})
    await services.first(keys.revoke_key(key_id, line))
    services.access.forget()
    row = await services.first(keys.read_key(key_id, user_id))
    assert row is not None
    return present_key(row)


async def list_jobs(services: Services, query: AdminJobQuery) -> AdminJobPage:
    """The jobs of all users that fit, the newest first. Raises InvalidParameters."""
    chosen = query.chosen_by(None)
    rows = await search(
        services, users.list_everybodys_jobs(chosen, username=query.username, limit=query.limit + 1)
    )
    page = [AdminJobRead(**row._mapping, status=row.state) for row in rows[: query.limit]]
    return AdminJobPage(jobs=page, next=page[-1].id if len(rows) > query.limit else None)


async def report_usage(services: Services, month: date | None) -> UsageReport:
    """What was used in a month; in this one, if none is given."""
    rows = await services.all(users.read_usage(month))
    if month is None:
        this = await services.first(users.read_month())
        assert this is not None
        month = this.month
    return UsageReport(month=month, users=[UsageRead(**row._mapping) for row in rows])


async def list_audit(services: Services, *, limit: int, **choice: Any) -> AuditPage:
    """Lines of the audit log that fit, the newest first."""
    rows = await services.all(audit_log.list_lines(limit=limit + 1, **choice))
    lines = [AuditRead(**row._mapping, at=row.created_at) for row in rows[:limit]]
    return AuditPage(lines=lines, next=lines[-1].id if len(rows) > limit else None)
