"""What the routes work with: the database, the object store and the settings, made once per process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar
from uuid import UUID

import anyio
from anyio import CapacityLimiter
from fastapi import Depends, Request
from sqlalchemy import Executable, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pipeline3d.api.account_cache import AccountCache
from pipeline3d.api.event_hub import EventHub
from pipeline3d.api.open_streams import OpenStreams
from pipeline3d.api.rates import RequestRates
from pipeline3d.api.transfers import Transfers
from pipeline3d.api.turns import Turns
from pipeline3d.database.direct_statements import DirectStatements
from pipeline3d.database.engines import create_asyncio_engine
from pipeline3d.database.single_statements import fetch_all
from pipeline3d.errors import SettingsError
from pipeline3d.limits import admission_of
from pipeline3d.requests import credentials
from pipeline3d.requests.catalogue import KnownModel
from pipeline3d.requests.queue_snapshot import REACHES, QueueSnapshot, build_snapshot, read_queues
from pipeline3d.requests.snapshot_keeper import SnapshotKeeper
from pipeline3d.settings import Settings
from pipeline3d.store.s3 import S3Store

T = TypeVar("T")
P = ParamSpec("P")

STORE_THREADS = 16
STORE_READ_TIMEOUT_S = 10.0
"""A caller waits for the answer, and only heads of objects are read."""

SEARCHES = 4
"""Searches through long histories at a time: each has a connection to itself for up to some seconds."""

PASSWORD_THREADS = 2
"""Hashing a password takes 64 MiB and a core for a while: more at once would starve the rest."""


_TAKEN_BACK = frozenset({"40001", "40P01"})
"""SQLSTATE of what Postgres took back whole so that others could go on: a deadlock, or changes that cross."""

Run = Callable[P, Coroutine[Any, Any, T]]


def again_where_taken_back(run: Run[P, T]) -> Run[P, T]:
    """Run a statement or a transaction once more that waited for others in a circle.

    It left nothing: that is always safe.
    """

    @wraps(run)
    async def run_again(*arguments: P.args, **values: P.kwargs) -> T:
        try:
            return await run(*arguments, **values)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _TAKEN_BACK:
                raise
        return await run(*arguments, **values)

    return run_again


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One process's connections. Statements run one by one, each a transaction by itself."""

    settings: Settings
    engine: AsyncEngine
    store: S3Store
    store_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(STORE_THREADS))
    password_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(PASSWORD_THREADS))
    search_limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(SEARCHES))
    transfers: Transfers = field(default_factory=Transfers)
    turns: Turns = field(default_factory=Turns)
    models: dict[str, KnownModel] = field(default_factory=dict)
    """Rows of the catalogue that were read a moment ago: see `api.known_models`."""
    queues: SnapshotKeeper = field(init=False)
    events: EventHub = field(init=False)
    streams: OpenStreams = field(init=False)
    access: AccountCache = field(init=False)
    rates: RequestRates = field(init=False)
    direct: DirectStatements | None = field(init=False)
    """None where the database's URL says what only the engine's driver understands."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "queues", SnapshotKeeper(self.read_queues))
        # It keeps a connection for as long as somebody watches: not one of those that answers borrow.
        url = self.engine.url.render_as_string(hide_password=False)
        object.__setattr__(self, "events", EventHub(create_asyncio_engine(url, pool_size=1)))
        streams = OpenStreams(self.find_valid, per_user=self.settings.events_streams_per_user)
        object.__setattr__(self, "streams", streams)
        listening = create_asyncio_engine(url, pool_size=1)
        object.__setattr__(self, "access", AccountCache(listening, self.settings.account_cache_s))
        object.__setattr__(self, "rates", RequestRates(self.settings.redis_url))
        is_plain = DirectStatements.can_reach(self.engine.url)
        object.__setattr__(self, "direct", DirectStatements(self.engine.url) if is_plain else None)

    @again_where_taken_back
    async def first(self, statement: Executable, **values: Any) -> Row[Any] | None:
        """Run a statement with the values that it binds; its first row."""
        rows = await fetch_all(self.engine, statement, values)
        return rows[0] if rows else None

    @again_where_taken_back
    async def all(self, statement: Executable, **values: Any) -> list[Row[Any]]:
        """Run a statement with the values that it binds; all its rows."""
        return await fetch_all(self.engine, statement, values)

    @again_where_taken_back
    async def directly(self, statement: Executable, **values: Any) -> list[Row[Any]]:
        """As `all`, for what is asked most: statements that are built once, without JSON in their rows."""
        if self.direct is None:
            return await fetch_all(self.engine, statement, values)
        return await self.direct.fetch(statement, values)

    @again_where_taken_back
    async def execute(self, statement: Executable) -> None:
        """Run a statement that brings nothing back."""
        await fetch_all(self.engine, statement, {})

    @again_where_taken_back
    async def together(self, first: Executable, *then: Executable) -> Row[Any] | None:
        """Run these statements in their order, all or none; the first row of the first one.

        Where that brings none, nothing is run after it.
        """
        async with self.transaction() as connection:
            row = (await connection.execute(first)).first()
            if row is not None:
                for statement in then:
                    await connection.execute(statement)
        return row

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose statements are kept together, or not at all where an error leaves the block."""
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
                yield connection

    async def read_queues(self) -> QueueSnapshot:
        """The front of every queue now; `queues` keeps the newest."""
        limits = admission_of(self.settings)
        rows: list[Row[Any]] = []
        for reach in REACHES:
            rows = await self.all(
                read_queues(),
                reach=reach,
                silent_after_s=limits.silent_after_s,
                jobs_per_user=limits.jobs_per_user,
            )
            if not any(row.cut for row in rows):
                break
        return build_snapshot(rows)

    async def find_valid(self, key_ids: list[UUID], session_ids: list[UUID]) -> list[Row[Any]]:
        """Which of these keys and sessions still open something, with the role and the scopes of each."""
        return await self.all(credentials.list_valid(), the_keys=key_ids, the_sessions=session_ids)

    async def close(self) -> None:
        """End what goes on by itself, and the connections."""
        await self.streams.close()
        await self.events.close()
        await self.access.close()
        await self.queues.close()
        if self.direct is not None:
            await self.direct.close()
        await self.engine.dispose()

    async def ask_store(self, question: Callable[..., T], *arguments: Any) -> T:
        """Run a call of the object store, which waits for the network, in a thread.

        Who stops waiting does not wait for the thread: it ends by the store's own time-outs.
        """
        return await anyio.to_thread.run_sync(
            question, *arguments, limiter=self.store_limiter, abandon_on_cancel=True
        )

    async def check_password(self, check: Callable[..., T], *arguments: Any) -> T:
        """Run a check of a password, which is slow on purpose, in a thread."""
        return await anyio.to_thread.run_sync(check, *arguments, limiter=self.password_limiter)


def build_services(settings: Settings) -> Services:
    """The services that the settings describe. Connects to nothing yet."""
    secret = settings.minio_secret_key
    if not settings.database_url:
        raise SettingsError("DATABASE_URL is not set.", hint="`pipeline3d up` starts a database and sets it.")
    if not settings.minio_endpoint or not settings.minio_access_key or secret is None:
        raise SettingsError(
            "MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not all set.",
            hint="`pipeline3d up` starts an object store and sets them.",
        )
    engine = create_asyncio_engine(settings.database_url)
    return Services(
        settings=settings,
        engine=engine,
        store=S3Store(
            settings.minio_endpoint,
            settings.minio_access_key,
            secret.get_secret_value(),
            settings.minio_bucket,
            secure=settings.minio_secure,
            public_endpoint=settings.minio_public_endpoint,
            read_timeout_s=STORE_READ_TIMEOUT_S,
        ),
    )


def services_of(request: Request) -> Services:
    """The services of the app that answers this request."""
    services: Services = request.app.state.services
    return services


async def _services_of(request: Request) -> Services:
    """The same as a coroutine: FastAPI sends any other dependency through a thread."""
    return services_of(request)


AppServices = Annotated[Services, Depends(_services_of)]
