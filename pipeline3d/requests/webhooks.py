"""Statements over webhook endpoints: an account's addresses that want to be told what happens to its jobs.

Pure functions that return statements. Each names the owner, so that nobody reaches what is another's.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, Update, delete, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as POSTGRES_UUID

from pipeline3d.database.webhook_tables import webhook_deliveries, webhook_endpoints
from pipeline3d.requests.creation import new_job_id
from pipeline3d.requests.webhook_secrets import generate_secret

OWNER_DISABLED = "Its owner switched it off."


def create_endpoint(
    user_id: UUID, url: str, *, events: Collection[str] = (), description: str = "", at_most: int
) -> Any:
    """Store an endpoint with a new secret; no row comes back where the user has `at_most` of them already.

    Two at once would not see one another: run it through `store_counted`.
    """
    own = select(func.count()).select_from(webhook_endpoints).where(webhook_endpoints.c.user_id == user_id)
    row = select(
        literal(new_job_id(), POSTGRES_UUID),
        literal(user_id, POSTGRES_UUID),
        literal(url),
        literal(description),
        literal(list(events), ARRAY(Text)),
        literal(generate_secret()),
    ).where(own.scalar_subquery() < at_most)
    names = ["id", "user_id", "url", "description", "events", "secret"]
    return insert(webhook_endpoints).from_select(names, row).returning(webhook_endpoints)


def list_endpoints(user_id: UUID) -> Select[Any]:
    """The endpoints of a user, oldest first."""
    return (
        select(webhook_endpoints)
        .where(webhook_endpoints.c.user_id == user_id)
        .order_by(webhook_endpoints.c.created_at, webhook_endpoints.c.id)
    )


def read_endpoint(user_id: UUID, endpoint_id: UUID) -> Select[Any]:
    """One endpoint of a user."""
    return select(webhook_endpoints).where(
        webhook_endpoints.c.id == endpoint_id, webhook_endpoints.c.user_id == user_id
    )


def change_endpoint(user_id: UUID, endpoint_id: UUID, **values: Any) -> Update:
    """Change `url`, `events` or `description` of an endpoint. Messages that wait go to the new address."""
    return _own(user_id, endpoint_id).values(**values).returning(webhook_endpoints)


def enable_endpoint(user_id: UUID, endpoint_id: UUID) -> Update:
    """Switch an endpoint on, whoever switched it off; what failed before is forgiven."""
    return (
        _own(user_id, endpoint_id)
        .values(is_active=True, failing_since=None, disabled_at=None, disabled_reason=None)
        .returning(webhook_endpoints)
    )


def disable_endpoint(user_id: UUID, endpoint_id: UUID) -> Select[Any]:
    """Switch an endpoint off for its owner. What waits for it has failed, and can be recovered."""
    disabled = (
        _own(user_id, endpoint_id)
        .values(
            is_active=False,
            disabled_at=func.coalesce(webhook_endpoints.c.disabled_at, func.now()),
            disabled_reason=func.coalesce(webhook_endpoints.c.disabled_reason, OWNER_DISABLED),
        )
        .returning(webhook_endpoints)
        .cte("disabled")
    )
    given_up = fail_waiting(OWNER_DISABLED).where(webhook_deliveries.c.endpoint_id == disabled.c.id)
    return select(disabled).add_cte(given_up.cte("given_up"))


def fail_waiting(reason: str) -> Update:
    """Give up deliveries that wait; which ones is for the caller to say."""
    return (
        update(webhook_deliveries)
        .where(webhook_deliveries.c.state == "PENDING")
        .values(state="FAILED", last_error=reason, lease_until=None)
        .returning(webhook_deliveries.c.id)
    )


def delete_endpoint(user_id: UUID, endpoint_id: UUID) -> Any:
    """Forget an endpoint with its deliveries."""
    return (
        delete(webhook_endpoints)
        .where(webhook_endpoints.c.id == endpoint_id, webhook_endpoints.c.user_id == user_id)
        .returning(webhook_endpoints.c.id)
    )


def _own(user_id: UUID, endpoint_id: UUID) -> Update:
    return (
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == endpoint_id, webhook_endpoints.c.user_id == user_id)
        .values(updated_at=func.now())
    )
