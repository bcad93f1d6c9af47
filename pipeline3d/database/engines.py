"""Engines: how this service connects to Postgres, synchronously (runs, commands) and asynchronously (API).

Any usual spelling of a URL is accepted and psycopg 3 is what connects. An engine made here raises
`DatabaseUnavailable` where Postgres does not answer, so that callers decide by class and never by text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipeline3d.database.resting_connections import check_before_lending
from pipeline3d.errors import DatabaseUnavailable, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

CONNECT_TIMEOUT_S = 5
# A server that vanished without a word, as behind a cut cable, is missed after half a minute, not two hours.
NOTICE_VANISHED_SERVER: dict[str, int] = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
POOL_TIMEOUT_S = 10
POOL_TIMEOUTS = (PoolTimeout,)
"""Raised by a pool that has no connection to lend: as good as a database that does not answer."""

UNAVAILABLE_SQLSTATES = (
    "08",  # connection exception
    "25P03",  # stood still amid a transaction, which is taken back
    "53",  # out of connections, memory or disk
    "57P",  # shutting down, starting up, crashed
)
_ACCEPTED_DRIVERS = ("", "asyncpg", "psycopg", "psycopg2", "psycopg_async")


def parse_database_url(url: str) -> URL:
    """Read a Postgres URL in any accepted spelling as one that psycopg 3 serves."""
    example = "Write postgresql://user:password@host:5432/database."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SettingsError("The database URL cannot be read.", hint=example) from error
    name, _, driver = parsed.drivername.partition("+")
    if name not in ("postgres", "postgresql") or driver not in _ACCEPTED_DRIVERS:
        raise SettingsError(
            f"The database URL starts with {parsed.drivername!r}, not Postgres.", hint=example
        )
    query = dict(parsed.query)
    # asyncpg's word for what libpq calls sslmode
    if "ssl" in query:
        query.setdefault("sslmode", query.pop("ssl"))
    return parsed.set(drivername="postgresql+psycopg", query=query)


def create_sync_engine(url: str, *, pool_size: int = 5) -> Engine:
    """An engine for runs and commands. Connects on first use, not here."""
    engine = create_engine(parse_database_url(url), **_engine_options(pool_size))
    event.listen(engine, "handle_error", translate_driver_error)
    check_before_lending(engine)
    return engine


def create_asyncio_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An engine for the API, each statement a transaction by itself. Connects on first use, not here."""
    # Only here: it brings SQLAlchemy's ORM along, which no synchronous process needs.
    from sqlalchemy.ext.asyncio import create_async_engine

    options = _engine_options(pool_size)
    # There is nothing to roll back in a connection that commits each statement, and saying so takes a while.
    options |= {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    engine = create_async_engine(parse_database_url(url), **options)
    event.listen(engine.sync_engine, "handle_error", translate_driver_error)
    check_before_lending(engine.sync_engine)
    return engine


def translate_driver_error(context: ExceptionContext) -> None:
    """Raise `DatabaseUnavailable` where Postgres does not answer; leave every other error as it is."""
    if context.is_pre_ping:
        return  # the pool finds a dead connection by this error and opens another
    if not isinstance(context.sqlalchemy_exception, OperationalError | InterfaceError | InternalError):
        return
    sqlstate = getattr(context.original_exception, "sqlstate", None)
    if context.is_disconnect or sqlstate is None or sqlstate.startswith(UNAVAILABLE_SQLSTATES):
        raise database_unavailable() from context.original_exception


def database_unavailable() -> DatabaseUnavailable:
    """The error for a Postgres that does not answer."""
    return DatabaseUnavailable(
        "Postgres does not answer.", hint="Check DATABASE_URL and that the server runs."
    )


def _engine_options(pool_size: int) -> dict[str, Any]:
    return {
        # what was to be stored is somebody's: no error quotes it, and so no log
        "hide_parameters": True,
        "pool_size": pool_size,
        "max_overflow": pool_size,
        "pool_timeout": POOL_TIMEOUT_S,
        "connect_args": {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "pipeline3d",
            **NOTICE_VANISHED_SERVER,
        },
    }
