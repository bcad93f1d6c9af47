"""The few statements that are asked most, past SQLAlchemy's execution: prepared statements of asyncpg.

A statement is described in SQLAlchemy as all others are, and compiled once. What is left for each call is to
borrow a connection and to send the values: a fifth of the process's time that the engine needs for the same.
Each statement is a transaction by itself. Everything else goes through `engines`, and so does all where the
database's URL says something that only libpq understands.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import asyncpg
from sqlalchemy import JSON, URL
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipeline3d.database.engines import (
    CONNECT_TIMEOUT_S,
    NOTICE_VANISHED_SERVER,
    POOL_TIMEOUT_S,
    UNAVAILABLE_SQLSTATES,
    database_unavailable,
)
from pipeline3d.database.resting_connections import TRUSTED_IDLE_S

MOST_CONNECTIONS = 10
_OF_TLS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"})
_OF_SESSION = frozenset({"application_name", "options"})
UNDERSTOOD = _OF_TLS | _OF_SESSION
"""What a URL may say beside the server, its database and the user; both drivers take it in the same sense."""
CLOSE_TIMEOUT_S = 5.0

_SOCKET_OPTIONS = {
    socket.TCP_KEEPIDLE: NOTICE_VANISHED_SERVER["keepalives_idle"],
    socket.TCP_KEEPINTVL: NOTICE_VANISHED_SERVER["keepalives_interval"],
    socket.TCP_KEEPCNT: NOTICE_VANISHED_SERVER["keepalives_count"],
    socket.TCP_USER_TIMEOUT: NOTICE_VANISHED_SERVER["tcp_user_timeout"],
}
_CLASS_OF_ERROR: dict[str, type[DBAPIError]] = {"22": DataError, "23": IntegrityError}
"""SQLAlchemy's classes by the beginning of the SQLSTATE: callers tell errors of both ways alike."""


class DirectRow(asyncpg.Record):  # type: ignore[misc]
    """A row with its columns as attributes, as SQLAlchemy's."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def _asdict(self) -> dict[str, Any]:
        return dict(self.items())


class CompiledStatement:
    """The text of a statement, and how the values that it binds become those that the driver sends."""

    def __init__(self, statement: Any) -> None:
        # asyncpg gives JSON as text; no statement that is asked so often needs more.
        if any(isinstance(column.type, JSON) for column in statement.exported_columns):
            raise TypeError("A statement that brings JSON back as values goes through an engine.")
        dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text = str(compiled)
        given = compiled.construct_params(_check=False)
        self._known: list[Any] = []
        self._asked: list[tuple[int, str, Callable[[Any], Any] | None]] = []
        for name in compiled.positiontup or ():
            bind = compiled.binds[name]
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if not bind.unique:  # it has a name, under which a value may come
                self._asked.append((len(self._known), bind.key, process))
            self._known.append(_processed(None if bind.required else given[name], process))
        self._required = frozenset(bind.key for bind in compiled.binds.values() if bind.required)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the text. KeyError where one is missing."""
        arguments = self._known.copy()
        for index, name, process in self._asked:
            if name in values or name in self._required:
                arguments[index] = _processed(values[name], process)
        return arguments


def _processed(value: Any, process: Callable[[Any], Any] | None) -> Any:
    return value if process is None else process(value)


@lru_cache(maxsize=64)
def compile_statement(statement: Any) -> CompiledStatement:
    """Compile a statement that is built once; the same object is found again."""
    return CompiledStatement(statement)


class _Line:
    """A connection, and what tells whether it still leads to the server."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.rests_since = 0.0
        self._poll = select.poll()
        # the driver has no public way to the socket
        line = connection._transport.get_extra_info("socket")
        self._poll.register(line.fileno(), select.POLLIN | select.POLLPRI)
        if line.family != socket.AF_UNIX:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _SOCKET_OPTIONS.items():
                line.setsockopt(socket.IPPROTO_TCP, option, value)

    async def is_alive(self) -> bool:
        """Whether it works: asked of the server after a long rest, or where that said something unasked."""
        if self.connection.is_closed():
            return False
        rested_long = time.monotonic() - self.rests_since > TRUSTED_IDLE_S
        if not rested_long and not self._poll.poll(0):
            return True
        try:
            await self.connection.execute("SELECT 1", timeout=CONNECT_TIMEOUT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return False
        return True


class DirectStatements:
    """Runs statements on a few connections of its own, of one event loop. Connects on first use, not here."""

    def __init__(self, url: URL, *, most_connections: int = MOST_CONNECTIONS) -> None:
        self._options = connect_options(url)
        self._most = most_connections
        self._turns = asyncio.Semaphore(most_connections)
        self._resting: list[_Line] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @staticmethod
    def can_reach(url: URL) -> bool:
        """Whether a URL says nothing that this driver would understand otherwise than libpq."""
        said_once = all(isinstance(value, str) for value in url.query.values())
        return UNDERSTOOD.issuperset(url.query) and said_once and "," not in (url.host or "")

    @property
    def resting(self) -> int:
        """How many connections wait for a statement."""
        return len(self._resting)

    async def fetch(self, statement: Any, values: Mapping[str, Any]) -> list[Any]:
        """Run a statement that is built once, with the values that it binds; all its rows.

        Raises DatabaseUnavailable, the pool's timeout of `engines`, or SQLAlchemy's DBAPIError. A caller who
        stops waiting interrupts the statement, and the connection that it ran on is closed.
        """
        compiled = compile_statement(statement)
        arguments = compiled.arguments(values)
        await self._wait_for_turn()
        try:
            line = await self._borrow()
            try:
                rows: list[Any] = await line.connection.fetch(compiled.text, *arguments)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                if isinstance(error, OSError):
                    self._end(line)
                else:
                    self._rest(line)
                told = _as_of_engine(error, line.connection, compiled.text)
                if told is None:
                    raise
                raise told from error
            except BaseException:
                self._end(line)
                raise
            self._rest(line)
            return rows
        finally:
            self._turns.release()

    async def close(self) -> None:
        """Close what rests, and wait for what is being closed; what is in use closes after its statement."""
        self._is_closed = True
        while self._resting:
            self._end(self._resting.pop())
        if self._ending:
            await asyncio.wait(self._ending)

    async def _wait_for_turn(self) -> None:
        if not self._turns.locked():
            await self._turns.acquire()
            return
        try:
            async with asyncio.timeout(POOL_TIMEOUT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise PoolTimeout(f"None of {self._most} connections became free.") from None

    async def _borrow(self) -> _Line:
        """The connection that was used last, or a new one where none rests that is alive."""
        while self._resting:
            line = self._resting.pop()
            alive = False
            try:
                alive = await line.is_alive()
            finally:
                if not alive:
                    self._end(line)
            if alive:
                return line
        try:
            return _Line(await asyncpg.connect(**self._options))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise database_unavailable() from error

    def _rest(self, line: _Line) -> None:
        if self._is_closed or line.connection.is_closed():
            self._end(line)
            return
        line.rests_since = time.monotonic()
        self._resting.append(line)

    def _end(self, line: _Line) -> None:
        """Close a connection behind the caller's back, once a statement that still runs was told to stop."""

        async def close() -> None:
            try:
                await line.connection.close(timeout=CLOSE_TIMEOUT_S)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                line.connection.terminate()

        if not line.connection.is_closed():
            task = asyncio.create_task(close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def connect_options(url: URL) -> dict[str, Any]:
    """What asyncpg connects with, from a URL of `engines.parse_database_url`."""
    tls = {name: value for name, value in url.query.items() if name in _OF_TLS}
    session = {name: value for name, value in url.query.items() if name in _OF_SESSION}
    return {
        "dsn": f"postgresql:///?{urlencode(tls)}" if tls else None,
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "database": url.database,
        "timeout": CONNECT_TIMEOUT_S,
        "server_settings": {"application_name": "pipeline3d", **session},
        "record_class": DirectRow,
        # There are as many as `compile_statement` keeps, and what they mean does not change with time.
        "max_cached_statement_lifetime": 0,
    }


def _as_of_engine(error: Exception, connection: asyncpg.Connection, text: str) -> Exception | None:
    """What an engine of ours raises: `DatabaseUnavailable` or SQLAlchemy's error; None for neither."""
    sqlstate = getattr(error, "sqlstate", None) or ""
    is_gone = isinstance(error, OSError) or connection.is_closed()
    if is_gone or sqlstate.startswith(UNAVAILABLE_SQLSTATES):
        return database_unavailable()
    if isinstance(error, asyncpg.PostgresError):
        kind = _CLASS_OF_ERROR.get(sqlstate[:2], DBAPIError)
        return kind(text, None, error, hide_parameters=True)
    return None
