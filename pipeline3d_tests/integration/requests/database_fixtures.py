"""A database as an installation has it: migrated, seeded with the shipped catalogue, with two users.

Made once per test session as a template. Most tests share one copy, which is emptied of jobs before each of
them; a test that changes users or models takes a copy of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from argon2 import PasswordHasher
from psycopg import sql
from sqlalchemy import Engine, Executable, Row, event, null, or_
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.access_tables import audit_log, login_attempts, sessions, usage
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.file_tables import uploads
from pipeline3d.database.migration import migrate
from pipeline3d.database.tables import (
    api_keys,
    batches,
    idempotency_keys,
    installation_values,
    jobs,
    launched_runs,
    pauses,
    users,
    workers,
)
from pipeline3d.database.webhook_tables import webhook_deliveries, webhook_endpoints, webhook_secrets
from pipeline3d.requests import accounts, creation, reading
from pipeline3d.requests.catalogue import load_catalogue
from pipeline3d.requests.history import QUEUE_CHANNEL
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.requests.quotas import LIMITS
from pipeline3d.requests.seeding import CONFIGURED_KEY, seed
from pipeline3d.values import Family, Kind
from pipeline3d_tests.servers import PostgresServer

EMPTIED_TABLES = (
    jobs,
    batches,
    idempotency_keys,
    workers,
    launched_runs,
    pauses,
    installation_values,
    usage,
    login_attempts,
    sessions,
    audit_log,
    uploads,
    webhook_deliveries,
    webhook_endpoints,
    webhook_secrets,
)
"""What a test leaves here is gone before the next one; what belongs to it goes with it."""

CATALOGUE = Path(__file__).parents[3] / "resources" / "catalogue.json"
USERNAME = "ada"
PASSWORD = "the analytical engine"
API_KEY = "p3d_ada_0123456789abcdef0123456789abcdef"
OTHER_USERNAME = "grace"
OTHER_API_KEY = "p3d_grace_0123456789abcdef0123456789abcdef"
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@pytest.fixture(scope="session", autouse=True)
def real_password_hasher() -> Iterator[PasswordHasher]:
    """The one that is for people, which takes a quarter of a second; this process uses a quick one."""
    real = accounts._hasher
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_hasher", QUICK_HASHER)
        yield real


@pytest.fixture(scope="session")
def seeded_template(postgres_server: PostgresServer) -> str:
    """Name of a database that is ready to be copied."""
    url = postgres_server.fresh_database()
    migrate(url)
    engine = create_sync_engine(url)
    seed(engine, load_catalogue(CATALOGUE), username=USERNAME, password=PASSWORD, api_key=API_KEY)
    with engine.begin() as connection:
        connection.execute(accounts.create_user(OTHER_USERNAME, "no password"))
        other = connection.execute(accounts.find_user(OTHER_USERNAME)).one()
        connection.execute(accounts.create_api_key(other.id, OTHER_API_KEY, name="test"))
    engine.dispose()
    return url.rsplit("/", 1)[-1]


@pytest.fixture(scope="session")
def shared_database_url(postgres_server: PostgresServer, seeded_template: str) -> Iterator[str]:
    """A seeded database that tests use one after the other."""
    url = postgres_server.fresh_database(seeded_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def shared_engine(shared_database_url: str) -> Iterator[Engine]:
    """A synchronous engine on the shared database."""
    engine = create_sync_engine(shared_database_url, pool_size=10)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def emptying_script() -> bytes:
    """The SQL that takes a shared database back to what it was: one message before each of many tests.

    Rows that are as they were are not written again: nobody vacuums this database.
    """
    unlimited = {users.c.max_concurrent_jobs: None, users.c.compatibility: null()}
    unlimited |= {users.c[name]: None for name in LIMITS}
    unused = {api_keys.c.last_used_at: None} | {api_keys.c[name]: None for name in LIMITS}
    statements = [
        *(table.delete() for table in EMPTIED_TABLES),
        users.delete().where(users.c.username.not_in([USERNAME, OTHER_USERNAME])),
        users.update().values(unlimited).where(or_(*(column.is_not(None) for column in unlimited))),
        api_keys.delete().where(api_keys.c.name.not_in([CONFIGURED_KEY, "test"])),
        api_keys.update().values(unused).where(or_(*(column.is_not(None) for column in unused))),
    ]
    options: dict[str, Any] = {"dialect": postgresql.dialect(), "compile_kwargs": {"literal_binds": True}}
    return "; ".join(str(statement.compile(**options)) for statement in statements).encode()


@pytest.fixture
def engine(shared_engine: Engine, emptying_script: bytes) -> Engine:
    """A synchronous engine on a seeded database without jobs, workers, pauses and keys of earlier logins."""
    with shared_engine.begin() as connection:
        driver_connection: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        driver_connection.execute(emptying_script, prepare=False)
    return shared_engine


@pytest.fixture
def database_url(shared_database_url: str, engine: Engine) -> str:
    """The URL of the same database."""
    return shared_database_url


@pytest.fixture
def own_database_url(fresh_database: Callable[..., str], seeded_template: str) -> str:
    """A seeded database that no other test sees."""
    return fresh_database(seeded_template)


@pytest.fixture
def ledger(engine: Engine) -> JobLedger:
    """The ledger on the test's database."""
    return JobLedger(engine)


class JobRows:
    """Makes jobs and looks at them, past every check."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.user_id: UUID = self.run(accounts.find_user(USERNAME))[0].id

    def run(self, statement: Executable, **values: Any) -> list[Row[Any]]:
        """Run one statement with the values that it binds."""
        with self._engine.begin() as connection:
            result = connection.execute(statement, values)
            return list(result.all()) if result.returns_rows else []

    def explain(self, statement: Executable, values: dict[str, Any]) -> dict[str, Any]:
        """Run one statement and take it back; how Postgres went about it."""

        def prefix(*arguments: Any) -> tuple[str, Any]:
            return f"EXPLAIN (ANALYZE, FORMAT JSON) {arguments[2]}", arguments[3]

        with self._engine.connect() as connection:
            event.listen(connection, "before_cursor_execute", prefix, retval=True)
            cursor: Any = connection.execute(statement, values).cursor
            [[[plan]]] = cursor.fetchall()
            connection.rollback()
        return dict(plan)

    def make(self, **values: Any) -> UUID:
        """Store a queued job; returns its id."""
        job = creation.NewJob(
            **{
                "id": creation.new_job_id(),
                "user_id": self.user_id,
                "model_id": "inflate-v1",
                "kind": Kind.IMAGE_TO_3D,
                "family": Family.MODEL_REQUESTS,
                "prompt": None,
                "input_params": {},
                "params": {"seed": 0},
                **values,
            }
        )
        [row] = self.run(creation.create_job(job))
        return UUID(str(row.id))

    def user(self, name: str, limit: int | None = None) -> UUID:
        """A user of that name, made if there is none, with a limit of requests in work."""
        self.run(
            insert(users)
            .values(id=creation.new_job_id(), username=name, password_hash="no password")
            .on_conflict_do_nothing()
        )
        [row] = self.run(
            users.update()
            .where(users.c.username == name)
            .values(max_concurrent_jobs=limit)
            .returning(users.c.id)
        )
        return UUID(str(row.id))

    def worker(
        self, worker_id: str = "w1", *, queues: Sequence[str] = ("cpu",), slots: int = 2, **more: Any
    ) -> str:
        """Announce a worker that was heard of just now."""
        facts = {"host": "host-1", "pid": 1, "queues": list(queues), "concurrency": slots, **more}
        self.run(insert(workers).values(id=worker_id, **facts))
        return worker_id

    def row(self, job_id: UUID) -> Row[Any]:
        """The whole row of a job."""
        [row] = self.run(reading.read_job(), the_job=job_id)
        return row

    def events(self, job_id: UUID) -> list[dict[str, Any]]:
        """The payloads of a job's history."""
        return [row.payload for row in self.run(reading.list_events(job_id, after=0, limit=1000))]

    def artifacts(self, job_id: UUID) -> list[Row[Any]]:
        """The artifacts of a job."""
        return self.run(reading.list_artifacts(), the_jobs=[job_id])


@pytest.fixture
def rows(engine: Engine) -> JobRows:
    """Jobs on the test's database."""
    return JobRows(engine)


@pytest.fixture
def heard(database_url: str) -> Iterator[Callable[[], list[str]]]:
    """The jobs that a dispatcher was told of since it was last asked."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(QUEUE_CHANNEL)))

        def read() -> list[str]:
            connection.execute("SELECT 1")  # what was committed before this answer came before it
            return [message.payload for message in connection.notifies(timeout=0)]

        yield read
