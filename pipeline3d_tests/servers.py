"""Real servers for the tests, each started once per test session from an empty directory.

Use them through `pytest_plugins = ["pipeline3d_tests.servers"]`. They end with the test run however
it ends: by the finaliser, or by the parent-death signal when the run is killed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import minio
import psycopg
import pytest
import urllib3
from psycopg import sql

from pipeline3d.local import object_store_server as objects
from pipeline3d.local import postgres_server as postgres
from pipeline3d.local.parentage import environment_for_child
from pipeline3d.local.ports import choose_free_ports
from pipeline3d.local.probes import HttpProbe, PostgresProbe, Probe, ReadyFileProbe

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
MEMORY = Path("/dev/shm")
ROOM_IN_MEMORY_BYTES = 1 << 30  # four servers take 200 MB each
FOLDER_PREFIX = "pipeline3d-tests-"
YOUNG_S = 60.0
SETTINGS_OFF = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")
"""What a server does for a long life. Vacuuming hundreds of databases that live for a second takes a quarter
of a core."""


def pytest_configure() -> None:
    """A shell has what it starts in the background ignore SIGINT, which tests send to processes of theirs."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on loopback that says nothing; its address."""
    quiet = type("Quiet", (handler,), {"log_message": lambda self, *arguments: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), quiet)
    # a stop waits for the next look: half a second, if not told
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def wait_until(
    condition: Callable[[], object], *, what: str, deadline_s: float = 60.0, interval_s: float = 0.02
) -> None:
    """Return when `condition` is true; fail the test, saying what never happened, after the deadline.

    The deadline is for a busy machine: what never happens is found out all the same, later.
    """
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {deadline_s:g} s: {what}")
        time.sleep(interval_s)


@contextmanager
def folder_in_memory(otherwise: Path, memory: Path = MEMORY) -> Iterator[Path]:
    """A new folder in memory, gone afterwards; `otherwise` where there is too little of it.

    To copy a database is to make four hundred files. In memory it takes 30 ms of CPU; on a disk it takes ever
    longer, in the end half a second.
    """
    if not memory.is_dir() or shutil.disk_usage(memory).free < ROOM_IN_MEMORY_BYTES:
        yield otherwise
        return
    remove_abandoned_folders(memory)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=memory))
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned_folders(memory: Path) -> None:
    """What test runs that were killed have left: nobody holds its lock. A young one may not have it yet."""
    for folder in memory.glob(f"{FOLDER_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY)
        except OSError:  # somebody else's, or gone by now
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(lock).st_mtime > YOUNG_S:
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


@dataclass
class ServerProcess:
    """A server program as a child of the test run."""

    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    stop_signal: signal.Signals
    process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Probe) -> None:
        """Start it and wait until it answers; the failure shows its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=environment_for_child({**os.environ, **self.environment}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_DEADLINE_S
        while not ready.holds():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.command[2]} did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """As kill -9 does it: the server gets no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Stop it the polite way; its exit code."""
        assert self.process is not None
        self.process.send_signal(self.stop_signal)
        try:
            return self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


COPY_BY_KERNEL = """
SELECT set_config(name, 'clone', false) FROM pg_settings
WHERE name = 'file_copy_method' AND 'clone' = ANY (enumvals)
"""


@dataclass
class PostgresServer:
    """A PostgreSQL of our own, with a password, on its own port."""

    directory: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    # Tests that kill the server keep durability on; all others need none of it.
    durable: bool = False
    server: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "pipeline3d.local.postgres_server"]
        command += ["--dir", str(self.directory), "--port", str(self.port)]
        command += [f"--database={name}" for name in postgres.DATABASES]
        if not self.durable:
            command += [f"--set={setting}=off" for setting in SETTINGS_OFF]
            command += ["--set=max_wal_size=64MB"]  # it may lie in memory
        self.server = ServerProcess(
            command=command,
            environment={postgres.PASSWORD_VARIABLE: self.password},
            log=self.directory.with_suffix(".log"),
            stop_signal=signal.SIGINT,
        )

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.server.start(PostgresProbe(port=self.port))
        if not self.durable:
            self._check_passwords_quickly()

    def _check_passwords_quickly(self) -> None:
        """Of what a connection costs, thousands of rounds of hashing are the half."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SET scram_iterations = 1")
            change = sql.SQL("ALTER USER {} PASSWORD {}")
            connection.execute(change.format(sql.Identifier(postgres.SUPERUSER), sql.Literal(self.password)))

    def url(self, database: str = "pipeline3d", *, driver: str = "") -> str:
        """`postgresql://…` of one database; `driver` is what SQLAlchemy wants after a plus sign."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{postgres.SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self, template: str = "template0") -> str:
        """The URL of a new empty database, or of a copy of the database named `template`.

        A template may have no open connection while it is copied: dispose of the engine that filled it. Files
        are copied as they are, which without fsync takes half the time of writing them through the log, and
        by the kernel where it can, which takes two thirds of that.
        """
        name = f"test_{uuid.uuid4().hex}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(COPY_BY_KERNEL)
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, ending the connections that a test left open."""
        name = url.rsplit("/", 1)[-1]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')  # type: ignore[call-overload]


@dataclass
class ObjectStoreServer:
    """An S3 store of our own on its own port."""

    directory: Path
    port: int
    origins: str = "http://localhost:3000"
    access_key: str = field(default_factory=lambda: "test" + secrets.token_hex(6))
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(20))
    server: ServerProcess = field(init=False)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "pipeline3d.local.object_store_server"]
        command += ["--dir", str(self.directory), "--port", str(self.port), "--origin", self.origins]
        keys = {objects.ACCESS_KEY_VARIABLE: self.access_key, objects.SECRET_KEY_VARIABLE: self.secret_key}
        self.server = ServerProcess(
            command=command,
            environment=keys,
            log=self.directory.with_suffix(".log"),
            stop_signal=signal.SIGTERM,
        )

    @property
    def endpoint(self) -> str:
        """`host:port`, as MINIO_ENDPOINT wants it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        (self.directory / objects.READY_FILE).unlink(missing_ok=True)
        ready_file = ReadyFileProbe(path=str(self.directory / objects.READY_FILE))
        self.server.start(ready_file)
        assert HttpProbe(url=f"http://{self.endpoint}/healthcheck").holds()

    def client(self) -> minio.Minio:
        """A client that fails at once instead of trying for minutes."""
        pool = urllib3.PoolManager(retries=urllib3.Retry(total=0), timeout=urllib3.Timeout(30), maxsize=32)
        return minio.Minio(
            self.endpoint,
            self.access_key,
            self.secret_key,
            secure=False,
            region=objects.REGION,
            http_client=pool,
        )

    def fresh_bucket(self) -> str:
        """The name of a new empty bucket."""
        name = f"test-{uuid.uuid4().hex}"
        self.client().make_bucket(name)
        return name


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A running PostgreSQL: `.fresh_database()` gives a URL, `.url(name)` names a database."""
    with folder_in_memory(otherwise=tmp_path_factory.mktemp("postgres")) as folder:
        server = PostgresServer(directory=folder / "server", port=choose_free_ports(["it"])["it"])
        server.start()
        yield server
        server.server.stop()


@pytest.fixture
def fresh_database(postgres_server: PostgresServer) -> Iterator[Callable[..., str]]:
    """Makes databases that are dropped after the test: `url = fresh_database()`."""
    made: list[str] = []

    def make(template: str = "template0") -> str:
        made.append(postgres_server.fresh_database(template))
        return made[-1]

    yield make
    for url in made:
        postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def object_store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    """A running object store: `.endpoint`, `.access_key`, `.secret_key`, `.client()`."""
    directory = tmp_path_factory.mktemp("objects") / "server"
    server = ObjectStoreServer(directory=directory, port=choose_free_ports(["it"])["it"])
    server.start()
    yield server
    server.server.stop()


@pytest.fixture
def fresh_bucket(object_store_server: ObjectStoreServer) -> str:
    """A new empty bucket on the running object store."""
    return object_store_server.fresh_bucket()
