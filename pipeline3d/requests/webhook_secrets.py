"""The secrets that sign messages: how they are made and changed.

An endpoint has a secret of its own; what goes to the addresses that single jobs name is signed with the one
of their owner. After a change the one before counts for a day more: messages then carry both signatures, so
that a receiver can take the new secret over whenever it likes.
"""

from __future__ import annotations

import base64
import secrets
from typing import Any
from uuid import UUID

from sqlalchemy import Table, case, func, update
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.webhook_tables import webhook_endpoints, webhook_secrets
from pipeline3d.requests.leases import seconds_from_now

SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32
"""Of the 24 to 64 that the Standard Webhooks specification asks for."""
OVERLAP_S = 24 * 3600
"""Seconds that the secret before counts after a change."""


def generate_secret() -> str:
    """A new secret in the spelling of the Standard Webhooks specification."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def ensure_account_secret(user_id: UUID) -> Any:
    """The secret of an account, made now if there is none yet. Safe to be asked twice at once."""
    return (
        insert(webhook_secrets)
        .values(user_id=user_id, secret=generate_secret())
        # a change that changes nothing, so that the row comes back in any case
        .on_conflict_do_update(index_elements=[webhook_secrets.c.user_id], set_={"user_id": user_id})
        .returning(webhook_secrets)
    )


def rotate_account_secret(user_id: UUID) -> Any:
    """Change the secret of an account, or make its first one."""
    return (
        insert(webhook_secrets)
        .values(user_id=user_id, secret=generate_secret())
        .on_conflict_do_update(index_elements=[webhook_secrets.c.user_id], set_=_changed(webhook_secrets))
        .returning(webhook_secrets)
    )


def rotate_endpoint_secret(user_id: UUID, endpoint_id: UUID) -> Any:
    """Change the secret of an endpoint of this user."""
    return (
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == endpoint_id, webhook_endpoints.c.user_id == user_id)
        .values(**_changed(webhook_endpoints), updated_at=func.now())
        .returning(webhook_endpoints)
    )


def _changed(table: Table) -> dict[str, Any]:
    return {
        "secret": generate_secret(),
        "previous_secret": table.c.secret,
        "previous_secret_until": seconds_from_now(OVERLAP_S),
    }


def previous_while_valid(table: Table) -> Any:
    """The secret before, for as long as it counts."""
    return case((table.c.previous_secret_until > func.now(), table.c.previous_secret))
