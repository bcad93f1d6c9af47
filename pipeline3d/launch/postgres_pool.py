"""One pool of Postgres connections per process and database, for Dagster's storage.

Dagster makes storage objects freely: three per instance, and a new instance for every tick that its code
server evaluates. A pool of their own would make each of them connect anew, so pools live here, by address and
settings, for as long as the process lives. A forked child never touches its parent's connections.
Nothing here knows what the connections are used for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from pipeline3d.database.resting_connections import check_before_lending

CONNECT_TIMEOUT_S = 10
LIBPQ_OPTIONS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "pipeline3d-dagster",
    # A host that vanished without a word is noticed after about a minute instead of two hours.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How many connections a process keeps, and how patient it is. A statement timeout of 0 is none."""

    pool_size: int = 5
    max_overflow: int = 20
    pool_timeout_s: int = 30
    recycle_s: int = 1800
    statement_timeout_ms: int = 60_000


class _Pools:
    """The pools of this process. A fork begins with fresh ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[tuple[str, PoolSettings], Engine] = {}

    def engine(self, url: str, settings: PoolSettings) -> Engine:
        with self._lock:
            engine = self._engines.get((url, settings))
            if engine is None:
                engine = self._engines[(url, settings)] = _build_engine(url, settings)
            return engine

    def dispose(self) -> None:
        with self._lock:
            engines = list(self._engines.values())
            self._engines.clear()
        for engine in engines:
            engine.dispose()

    def begin_child(self) -> None:
        # Another thread of the parent may have held the lock, and it does not exist here.
        self._lock = threading.Lock()
        for engine in self._engines.values():
            # Not closed: the sockets are the parent's, and closing would end its sessions politely.
            engine.dispose(close=False)


_pools = _Pools()
os.register_at_fork(after_in_child=_pools.begin_child)


def shared_engine(url: str, settings: PoolSettings) -> Engine:
    """The engine of this process for `url`, made at the first call; it connects when it is first used."""
    return _pools.engine(url, settings)


def dispose_engines() -> None:
    """Close every idle connection and forget the pools; connections that are lent end when given back."""
    _pools.dispose()


@contextlib.contextmanager
def lend_connection(engine: Engine, *, patience_s: float) -> Iterator[Connection]:
    """A connection for the block. While Postgres does not answer, as in a restart, waits up to `patience_s`.

    Raises what SQLAlchemy raises when there is none by then.
    """
    connection = _connect_patiently(engine, patience_s)
    try:
        yield connection
    finally:
        connection.close()


def _connect_patiently(engine: Engine, patience_s: float) -> Connection:
    deadline = time.monotonic() + patience_s
    pause_s = FIRST_RETRY_S
    while True:
        try:
            return engine.connect()
        except (OperationalError, PoolTimeout) as error:
            if time.monotonic() + pause_s > deadline:
                raise
            _log.warning("Postgres lends no connection, trying again: %s", error)
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_RETRY_S)


def _build_engine(url: str, settings: PoolSettings) -> Engine:
    parsed = make_url(url)
    engine = create_engine(
        parsed,
        isolation_level="AUTOCOMMIT",
        # Dagster's statements commit by themselves: there is nothing to roll back when one is done.
        skip_autocommit_rollback=True,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout_s,
        pool_recycle=settings.recycle_s,
        pool_use_lifo=True,  # what is not needed at the moment rests, and its server process swaps out
        connect_args={name: value for name, value in LIBPQ_OPTIONS.items() if name not in parsed.query},
    )
    _limit_statements(engine, settings.statement_timeout_ms)
    check_before_lending(engine)
    return engine


def _limit_statements(engine: Engine, timeout_ms: int) -> None:
    # A statement and not a start-up option, which PgBouncer refuses.
    set_timeout = f"SET statement_timeout = {timeout_ms}"

    def limit(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(set_timeout)
        cursor.close()

    event.listen(engine, "connect", limit)
