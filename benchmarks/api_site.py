"""What the benchmark of the API needs around it: real servers, users, and processes that stay on their cores.

One process of the API has one core. Postgres, the object store and the load generator share another one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import psutil
from sqlalchemy import Engine

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.migration import migrate
from pipeline3d.local.ports import choose_free_ports
from pipeline3d.requests import accounts
from pipeline3d.requests.catalogue import load_catalogue
from pipeline3d.requests.seeding import seed
from pipeline3d.settings import Settings
from pipeline3d_tests.servers import ObjectStoreServer, PostgresServer

CHECKOUT = Path(__file__).parents[1]
CATALOGUE = CHECKOUT / "resources" / "catalogue.json"
START_S = 60.0
API_KEY = "p3d_bench_0123456789abcdef0123456789abcdef"
MANY = "100000"
"""A limit that is never reached."""

_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
API_CORE = _CORES[0] if len(_CORES) > 1 else None
GENERATOR_CORE = _CORES[1] if len(_CORES) > 1 else None
"""None where there is nothing to choose between: then nothing is pinned, and the report says so."""


def pinned(core: int | None) -> list[str]:
    """The beginning of a command that keeps to one core, where that is possible."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core)] if taskset and core is not None else []


@dataclass(kw_only=True)
class Site:
    """Running servers and a seeded database."""

    database_url: str
    engine: Engine
    environment: dict[str, str]
    folder: Path

    def add_user(self, name: str) -> tuple[UUID, str]:
        """A user with a key; both."""
        key = accounts.generate_api_key()
        with self.engine.begin() as connection:
            connection.execute(accounts.create_user(name, "no password"))
            user_id = connection.execute(accounts.find_user(name)).one().id
            connection.execute(accounts.create_api_key(user_id, key, name="bench"))
        return user_id, key

    @contextmanager
    def serving(self, name: str, factory: str, *, http: str = "httptools") -> Iterator[Server]:
        """One process that serves an application, by a protocol of uvicorn's name or of ours."""
        port = choose_free_ports([name])[name]
        command = [*pinned(API_CORE), sys.executable, "-m", "uvicorn", factory, "--factory"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
        command += ["--http", http]
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=CHECKOUT, env=self.environment, stdout=output, stderr=output
            )
        server = Server(url=f"http://127.0.0.1:{port}", process=psutil.Process(process.pid))
        try:
            server.wait(process, log)
            yield server
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Server:
    """A process that serves."""

    url: str
    process: psutil.Process

    def wait(self, child: subprocess.Popen[bytes], log: Path) -> None:
        """Return when it answers anything. SystemExit, with its log, where it does not."""
        deadline = time.monotonic() + START_S
        while child.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                httpx.get(f"{self.url}/openapi.json")
                return
            time.sleep(0.1)
        raise SystemExit(f"a server did not start:\n{log.read_text()[-2000:]}")

    @property
    def memory_mb(self) -> float:
        """What this process alone takes, in MB of 1,000,000 bytes."""
        return float(self.process.memory_full_info().uss) / 1e6

    @property
    def cpu_s(self) -> float:
        """Seconds of a core that it has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Start Postgres, which writes durably, and the object store; end them after."""
    ports = choose_free_ports(["postgres", "objects"])
    with ExitStack() as stack:
        postgres = PostgresServer(directory=folder / "postgres", port=ports["postgres"], durable=True)
        postgres.start()
        stack.callback(postgres.server.stop)
        objects = ObjectStoreServer(directory=folder / "objects", port=ports["objects"])
        objects.start()
        stack.callback(objects.server.stop)
        for server in (postgres.server, objects.server):
            assert server.process is not None
            keep_to(GENERATOR_CORE, psutil.Process(server.process.pid))
        url = postgres.fresh_database()
        migrate(url)
        engine = create_sync_engine(url)
        stack.callback(engine.dispose)
        seed(engine, load_catalogue(CATALOGUE), username="bench", password="of no use", api_key=API_KEY)
        ours = {name.upper() for name in Settings.model_fields}
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        environment |= {
            "DATABASE_URL": url,
            "DAGSTER_PG_URL": url,
            "MINIO_ENDPOINT": objects.endpoint,
            "MINIO_ACCESS_KEY": objects.access_key,
            "MINIO_SECRET_KEY": objects.secret_key,
            "MINIO_BUCKET": objects.fresh_bucket(),
            "LINK_SIGNING_KEY": "of no use",
            "EVENTS_STREAMS_PER_USER": MANY,
            "PIPELINE3D_DATA_DIR": str(folder / "data"),
        }
        yield Site(database_url=url, environment=environment, folder=folder, engine=engine)


def keep_to(core: int | None, process: psutil.Process) -> None:
    """Keep a process and its children to one core; those that it starts later inherit it."""
    if core is None:
        return
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            one.cpu_affinity([core])
