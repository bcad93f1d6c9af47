"""Deliveries as their owner sees them: what was told to whom, how each attempt went, and once more, please.

Pure functions that return statements. Each names the owner, so that nobody reaches what is another's.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Text,
    Update,
    and_,
    case,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.tables import jobs
from pipeline3d.database.webhook_tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from pipeline3d.requests.pruning import Sweep
from pipeline3d.requests.webhook_events import TEST_EVENT, WEBHOOKS_CHANNEL

MOST_RECOVERED = 10_000
"""So many deliveries are sent again by one recovery, the oldest; the next one takes the rest."""

_LONG = ("payload", "body")
_SHOWN: tuple[Column[Any], ...] = tuple(column for column in webhook_deliveries.c if column.name not in _LONG)


def list_deliveries(
    user_id: UUID,
    *,
    limit: int,
    endpoint_id: UUID | None = None,
    job_id: UUID | None = None,
    before: int | None = None,
    states: Collection[str] = (),
    events: Collection[str] = (),
) -> Select[Any]:
    """A page of a user's deliveries, newest first: of an endpoint or a job, of some states and events."""
    page = select(*_SHOWN).where(webhook_deliveries.c.user_id == user_id)
    if endpoint_id is not None:
        page = page.where(webhook_deliveries.c.endpoint_id == endpoint_id)
    if job_id is not None:
        page = page.where(webhook_deliveries.c.job_id == job_id)
    if before is not None:
        page = page.where(webhook_deliveries.c.id < before)
    if states:
        page = page.where(webhook_deliveries.c.state.in_(states))
    if events:
        page = page.where(webhook_deliveries.c.event.in_(events))
    return page.order_by(webhook_deliveries.c.id.desc()).limit(limit)


def read_delivery(user_id: UUID, delivery_id: int) -> Select[Any]:
    """One delivery of a user with what is sent, once that was made."""
    return select(*_SHOWN, webhook_deliveries.c.body).where(
        webhook_deliveries.c.id == delivery_id, webhook_deliveries.c.user_id == user_id
    )


def list_attempts(delivery_id: int) -> Select[Any]:
    """How each attempt of a delivery went, in their order."""
    return (
        select(webhook_attempts)
        .where(webhook_attempts.c.delivery_id == delivery_id)
        .order_by(webhook_attempts.c.id)
    )


def send_test(user_id: UUID, endpoint_id: UUID) -> Select[Any]:
    """Queue a message that says nothing, for an endpoint of this user that is on, and wake the courier."""
    columns: dict[str, Any] = {
        "user_id": webhook_endpoints.c.user_id,
        "endpoint_id": webhook_endpoints.c.id,
        "url": webhook_endpoints.c.url,
        "message_id": literal(f"evt_test_{uuid4().hex}"),
        "event": literal(TEST_EVENT),
        "payload": func.jsonb_build_object("at", func.now(), type_=JSONB),
    }
    row = select(*columns.values()).where(
        webhook_endpoints.c.id == endpoint_id,
        webhook_endpoints.c.user_id == user_id,
        webhook_endpoints.c.is_active,
    )
    queued = insert(webhook_deliveries).from_select(list(columns), row).returning(*_SHOWN).cte("queued")
    return select(queued, _wake())


def redeliver(user_id: UUID, delivery_id: int) -> Select[Any]:
    """Send a delivery of this user once more, at once, with the same id, and from the start of the plan.

    One that is being sent now stays as it is. No row comes back where its endpoint is off.
    """
    return _again(webhook_deliveries.c.id == delivery_id, webhook_deliveries.c.user_id == user_id)


def recover(user_id: UUID, endpoint_id: UUID, since: datetime) -> Select[Any]:
    """Send again what failed since then for an endpoint of this user."""
    chosen = (
        select(webhook_deliveries.c.id)
        .where(
            webhook_deliveries.c.endpoint_id == endpoint_id,
            webhook_deliveries.c.user_id == user_id,
            webhook_deliveries.c.state == "FAILED",
            webhook_deliveries.c.created_at >= since,
        )
        .order_by(webhook_deliveries.c.id)
        .limit(MOST_RECOVERED)
    )
    return _again(webhook_deliveries.c.id.in_(chosen), webhook_deliveries.c.state == "FAILED")


def _again(*which: ColumnElement[bool]) -> Select[Any]:
    on = select(webhook_endpoints.c.id).where(webhook_endpoints.c.is_active)
    being_sent = (webhook_deliveries.c.state == "PENDING") & (webhook_deliveries.c.lease_until > func.now())

    again: Update = (
        update(webhook_deliveries)
        .where(
            *which,
            or_(webhook_deliveries.c.endpoint_id.is_(None), webhook_deliveries.c.endpoint_id.in_(on)),
        )
        .values(
            state="PENDING",
            failures=0,
            next_attempt_at=case((being_sent, webhook_deliveries.c.next_attempt_at), else_=func.now()),
            delivered_at=None,
        )
    )
    queued = again.returning(*_SHOWN).cte("queued")
    return select(queued, _wake())


def _wake() -> ColumnElement[Any]:
    return func.pg_notify(WEBHOOKS_CHANNEL, literal("", Text)).label("told_courier")


def deliveries_of_deleted_jobs() -> Sweep:
    """Deliveries that tell of a job which was deleted, once they wait for nothing any more."""
    is_there = exists().where(jobs.c.id == webhook_deliveries.c.job_id)
    done = webhook_deliveries.c.state != literal_column("'PENDING'")
    return Sweep(
        what="webhook deliveries of deleted jobs",
        key=webhook_deliveries.c.id,
        past=and_(done, webhook_deliveries.c.job_id.is_not(None), ~is_there),
    )


def old_deliveries(before: datetime) -> Sweep:
    """Deliveries of before that moment that wait for nothing any more, with their attempts."""
    old = webhook_deliveries.c.created_at < before
    return Sweep(
        what="webhook deliveries",
        key=webhook_deliveries.c.id,
        past=old & (webhook_deliveries.c.state != literal_column("'PENDING'")),
        ordered_by=webhook_deliveries.c.created_at,
        until=before,
    )
