"""Postgres as the broker: kombu's SQLAlchemy transport with three things mended.

As it comes, the transport keeps every message for ever (it only marks them as seen), lets consumers wait for
each other's row locks, and hands its own options to SQLAlchemy, which refuses them. A message here is only a
hint that a run waits (see `pipeline3d.requests.fleet`), so it is deleted when it is read.

Broker URLs are spelled as kombu spells them: `sqla+postgresql+psycopg://…`.
"""

from __future__ import annotations

from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.sqlalchemy import Channel as SqlChannel
from kombu.transport.sqlalchemy import Transport as SqlTransport
from kombu.utils import json
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError


class Channel(SqlChannel):
    """A channel whose consumers pass each other by."""

    def _engine_from_config(self) -> Any:
        # A channel belongs to one thread and needs one connection; a restarted Postgres must not be felt.
        return create_engine(self.connection.client.hostname, pool_pre_ping=True, pool_size=2, max_overflow=8)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        queue_id = self._get_or_create(queue).id  # type: ignore[no-untyped-call]
        try:
            message = (
                self.session.query(self.message_cls)
                .with_for_update(skip_locked=True)
                .filter(self.message_cls.queue_id == queue_id)
                .order_by(self.message_cls.id)
                .limit(1)
                .first()
            )
            if message is None:
                raise Empty
            payload = json.loads(message.payload)
            self.session.delete(message)
            self.session.commit()
            return payload
        except BaseException:
            self.session.rollback()
            raise


class Transport(SqlTransport):
    """The transport; a lost database is a lost connection, after which Celery connects again."""

    Channel = Channel
    connection_errors = (DBAPIError,)  # type: ignore[assignment]
    polling_interval = 0.05
    """Seconds between two looks into an empty queue: what a request waits at most."""


def serve_sql_brokers() -> None:
    """Let this transport serve every `sqla+` broker URL of this process."""
    TRANSPORT_ALIASES["sqla"] = f"{__name__}:{Transport.__name__}"
