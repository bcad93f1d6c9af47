"""Who did what: lines that are written with the change itself, and read by administrators.

A line names the user, the key or session that was used, the request and the address. It never holds a secret.
The log outlives what it speaks of, so it refers to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, Insert, Select, String, Text, cast, insert, literal, select

from pipeline3d.database.access_tables import audit_log
from pipeline3d.requests.pruning import Sweep


class Action(StrEnum):
    """What was done."""

    SIGNED_IN = "session.created"
    LOGGED_IN = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    SIGNED_OUT = "session.ended"
    SESSIONS_ENDED = "sessions.ended"
    PASSWORD_CHANGED = "password.changed"
    KEY_CREATED = "key.created"
    KEY_ROTATED = "key.rotated"
    KEY_CHANGED = "key.changed"
    KEY_REVOKED = "key.revoked"
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    QUOTA_CHANGED = "quota.changed"
    JOB_CANCELED = "job.canceled"
    JOB_DELETED = "job.deleted"
    SHARE_CREATED = "share.created"
    SHARE_REVOKED = "share.revoked"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_DELETED = "webhook.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, but for its time."""

    action: Action
    subject: str = ""
    """What it was done to: `key:<id>`, `user:<id>`, `job:<id>`."""
    actor_id: UUID | None = None
    actor: str = ""
    credential: str = ""
    """`key:<id>` or `session:<id>`; empty where a password was."""
    address: str = ""
    request_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def write_line(line: Line) -> Insert:
    """Store a line."""
    return insert(audit_log).values(**_values(line))


def audited(change: CTE, line: Line) -> Select[Any]:
    """Bring back what a change returned, and write a line for each row of it, in one statement.

    Where the line has no subject, each changed row's `id` becomes one, after the action's first word.
    """
    values = _values(line)
    columns: dict[str, Any] = {name: literal(value, audit_log.c[name].type) for name, value in values.items()}
    if not line.subject:
        columns["subject"] = literal(f"{line.action.value.partition('.')[0]}:", Text) + cast(
            change.c.id, String
        )
    written = insert(audit_log).from_select(list(columns), select(*columns.values()).select_from(change))
    return select(change).add_cte(written.cte("written"))


def list_lines(
    *,
    limit: int,
    before: int | None = None,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Select[Any]:
    """Lines that fit all that is given, the newest first. `action` may be its first word, such as `key`."""
    found = select(audit_log)
    if before is not None:
        found = found.where(audit_log.c.id < before)
    if actor is not None:
        found = found.where(audit_log.c.actor == actor)
    if action is not None:
        either = audit_log.c.action == action
        found = found.where(either | audit_log.c.action.startswith(f"{action}.", autoescape=True))
    if subject is not None:
        found = found.where(audit_log.c.subject == subject)
    if since is not None:
        found = found.where(audit_log.c.created_at >= since)
    if until is not None:
        found = found.where(audit_log.c.created_at < until)
    return found.order_by(audit_log.c.id.desc()).limit(limit)


def old_lines(before: datetime) -> Sweep:
    """The lines that are older than that moment."""
    return Sweep(
        what="lines of the audit log",
        key=audit_log.c.id,
        past=audit_log.c.created_at < before,
        ordered_by=audit_log.c.created_at,
        until=before,
    )


def _values(line: Line) -> dict[str, Any]:
    return {
        "action": line.action.value,
        "subject": line.subject,
        "actor_id": line.actor_id,
        "actor": line.actor,
        "credential": line.credential,
        "address": line.address,
        "request_id": line.request_id,
        "details": dict(line.details),
    }
