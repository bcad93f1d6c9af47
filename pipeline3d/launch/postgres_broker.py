"""Postgres as the broker: kombu's SQLAlchemy transport, mended where it waits and where it keeps.

As it comes, the transport asks its tables at intervals, keeps every message for ever (it only marks them as
seen), lets consumers wait for each other's row locks, and hands its own options to SQLAlchemy, which refuses
them. Here a message is announced with NOTIFY, so a consumer sleeps until there is one; and since a message is
only a hint that a run waits (see `pipeline3d.requests.fleet`), it is deleted when it is read.

Broker URLs are spelled as kombu spells them: `sqla+postgresql+psycopg://…`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

import psycopg
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.sqlalchemy import Channel as SqlChannel
from kombu.transport.sqlalchemy import Transport as SqlTransport
from kombu.utils import json
from sqlalchemy import Engine, create_engine, delete, make_url, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from pipeline3d.database.engines import CONNECT_TIMEOUT_S, NOTICE_VANISHED_SERVER

BELL = "pipeline3d_broker"
LONGEST_SLEEP_S = 1.0
"""A consumer looks at least so often, should an announcement have been lost with its connection."""
CONNECTION_OPTIONS: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, **NOTICE_VANISHED_SERVER}
LONGEST_DEAFNESS_S = 0.2
"""A consumer that is told to end notices so soon."""
BUSY_PAUSE_S = 0.02
"""While all places of a worker are taken, until one is free: no statement is sent meanwhile."""


class Channel(SqlChannel):
    """A channel that announces its messages and whose consumers pass each other by."""

    def _engine_from_config(self) -> Engine:
        # A restarted Postgres must not be felt: connections are tried before they are used.
        return create_engine(
            self.connection.client.hostname,
            pool_pre_ping=True,
            pool_size=2,
            max_overflow=8,
            connect_args=CONNECTION_OPTIONS,
        )

    def verify(self) -> None:
        """Ask Postgres for a sign of life. Raises what SQLAlchemy raises where there is none."""
        with self._ended_in_any_case():
            self.session.execute(text("SELECT 1"))
            self.session.rollback()

    def _put(self, queue: str, payload: Any, **options: Any) -> None:  # type: ignore[override]
        with self._ended_in_any_case():
            self.session.execute(text(f"NOTIFY {BELL}"))  # told to everybody when the message is committed
            super()._put(queue, payload, **options)  # type: ignore[no-untyped-call]

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        queues, messages = self.queue_cls.__table__, self.message_cls.__table__
        first = (
            select(messages.c.id)
            # by name: should somebody empty the tables, the queue is made anew with another id
            .where(messages.c.queue_id == select(queues.c.id).where(queues.c.name == queue).scalar_subquery())
            .order_by(messages.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        taken = delete(messages).where(messages.c.id == first.scalar_subquery()).returning(messages.c.payload)
        with self._ended_in_any_case():
            payload = self.session.execute(taken).scalar()
            self.session.commit()
        if payload is None:
            raise Empty
        return json.loads(payload)  # type: ignore[no-untyped-call]

    def _get_or_create(self, queue: str) -> Any:
        known = self.session.query(self.queue_cls).filter(self.queue_cls.name == queue)
        if known.first() is None:
            # Another process may be doing the same.
            made = insert(self.queue_cls.__table__).values(name=queue).on_conflict_do_nothing()
            self.session.execute(made)
            self.session.commit()
        return known.first()

    @contextmanager
    def _ended_in_any_case(self) -> Iterator[None]:
        """After an error the session would refuse everything, for ever, until it is rolled back."""
        try:
            yield
        except BaseException:
            self.session.rollback()
            raise


class Transport(SqlTransport):
    """The transport; a lost database is a lost connection, after which Celery connects again."""

    Channel = Channel
    connection_errors = (DBAPIError, psycopg.OperationalError)  # type: ignore[assignment]

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)  # type: ignore[no-untyped-call]
        self._bell: psycopg.Connection[Any] | None = None

    def establish_connection(self) -> Any:
        """Connect for real: Celery pauses after an attempt that failed, and not after a first use that did.

        Without it a worker tries again hundreds of times a second while Postgres restarts.
        """
        connection = super().establish_connection()  # type: ignore[no-untyped-call]
        try:
            self._avail_channels[-1].verify()
        except BaseException:
            self._avail_channels.pop().close()
            raise
        return connection

    def drain_events(  # type: ignore[override]
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """Deliver the next message, sleeping until there is one.

        Raises TimeoutError after `timeout`, and WorkerShutdown in a worker that is told to end.
        """
        bell = self._listen(connection)
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[union-attr]
                return
            except Empty:
                left_s = LONGEST_SLEEP_S if give_up_at is None else give_up_at - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError from None
            if any(channel.qos.can_consume() for channel in connection.channels):
                sleep_until_rung(bell, min(left_s, LONGEST_SLEEP_S))
            else:
                time.sleep(min(left_s, BUSY_PAUSE_S))

    def close_connection(self, connection: Any) -> None:
        """Close the channels, and the ear."""
        if self._bell is not None:
            self._bell.close()
            self._bell = None
        super().close_connection(connection)  # type: ignore[no-untyped-call]

    def _listen(self, connection: Any) -> psycopg.Connection[Any]:
        """The connection that hears announcements; it listens before the first look, so none is missed."""
        if self._bell is None or self._bell.closed:
            url = make_url(connection.client.hostname).set(drivername="postgresql")
            self._bell = psycopg.connect(
                url.render_as_string(hide_password=False), autocommit=True, **CONNECTION_OPTIONS
            )
            self._bell.execute(f"LISTEN {BELL}")
        return self._bell


def sleep_until_rung(bell: psycopg.Connection[Any], longest_s: float) -> None:
    """Return when something was announced or the time is up. Raises WorkerShutdown as soon as it is due."""
    from celery.worker.state import maybe_shutdown  # a process that only publishes needs no worker

    wake_at = time.monotonic() + longest_s
    while (left_s := wake_at - time.monotonic()) > 0:
        maybe_shutdown()
        if any(True for _ in bell.notifies(timeout=min(left_s, LONGEST_DEAFNESS_S), stop_after=1)):
            return


def serve_sql_brokers() -> None:
    """Let this transport serve every `sqla+` broker URL of this process."""
    TRANSPORT_ALIASES["sqla"] = f"{__name__}:{Transport.__name__}"
