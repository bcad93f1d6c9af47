"""The headers of a message, signed after the Standard Webhooks specification with its own library."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook


def sign(message_id: str, moment: datetime, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """The headers for one attempt at `moment`. Each secret that counts adds a signature."""
    moment = moment.astimezone(UTC)  # the library takes any other zone's clock for UTC
    signatures = (Webhook(secret).sign(message_id, moment, body) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
