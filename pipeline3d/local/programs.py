"""The programs of an installation: what runs, in which order, and how each shows that it is ready.

Pure functions of the environment, the state and the paths; `stack` runs what they return.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from pipeline3d.local import object_store_server as objects
from pipeline3d.local import postgres_server as postgres
from pipeline3d.local.ports import LOOPBACK
from pipeline3d.local.probes import GrpcProbe, HttpProbe, PostgresProbe, ReadyFileProbe
from pipeline3d.local.ready_files import READY_VARIABLE
from pipeline3d.local.state import LocalState
from pipeline3d.local.supervision import Program, ready_file

# A stop takes at most the sum over the three levels, which must stay under ten seconds.
_SERVER_STOP_S = 3
_DAEMON = [sys.executable, "-m", "pipeline3d.launch.daemon", "--workspace", "workspace.yaml"]
_SERVICE_STOP_S = 3
_DAEMON_STOP_S = 1
DAGSTER_TABLES = "migrate-dagster"
_MOST_SOCKET_BYTES = 1 << 20
_SLOW_POLL_MS = 10_000


class _SaysSo(TypedDict):
    environment: Mapping[str, str]
    ready: ReadyFileProbe


def plan_servers(
    state: LocalState,
    *,
    data_directory: Path,
    embedded: frozenset[str],
    origins: Sequence[str],
    checkout: Path,
) -> list[Program]:
    """The embedded servers that this installation needs."""
    servers = []
    if "postgres" in embedded:
        servers.append(_plan_postgres(state, data_directory, checkout))
    if "objects" in embedded:
        servers.append(_plan_objects(state, data_directory, checkout, origins))
    return servers


def _plan_postgres(state: LocalState, data_directory: Path, checkout: Path) -> Program:
    port = state.ports["postgres"]
    command = [sys.executable, "-m", "pipeline3d.local.postgres_server"]
    command += ["--dir", str(data_directory / "postgres"), "--port", str(port)]
    return Program(
        name="postgres",
        command=[*command, *(f"--database={name}" for name in postgres.DATABASES)],
        environment={postgres.PASSWORD_VARIABLE: state.postgres_password},
        directory=checkout,
        ready=PostgresProbe(port=port),
        stop_signal="INT",  # "fast": open transactions are rolled back, nobody is waited for
        stop_timeout_s=_SERVER_STOP_S,
    )


def _plan_objects(state: LocalState, data_directory: Path, checkout: Path, origins: Sequence[str]) -> Program:
    port = state.ports["objects"]
    command = [sys.executable, "-m", "pipeline3d.local.object_store_server"]
    command += ["--dir", str(data_directory / "objects"), "--port", str(port), "--origin", ",".join(origins)]
    return Program(
        name="objects",
        command=command,
        environment={
            objects.ACCESS_KEY_VARIABLE: state.object_store_access_key,
            objects.SECRET_KEY_VARIABLE: state.object_store_secret_key,
        },
        directory=checkout,
        ready=HttpProbe(url=f"http://{LOOPBACK}:{port}/healthcheck"),
        stop_timeout_s=_SERVER_STOP_S,
    )


def plan_services(
    environment: Mapping[str, str],
    *,
    checkout: Path,
    after: tuple[str, ...],
    host: str = LOOPBACK,
    visited: bool = True,
    lineage: bool = True,
) -> list[Program]:
    """What stands on the servers named in `after`.

    One that is not `visited`, as for a demo, has no pages of Dagster, and its courier keeps nobody waiting.
    `lineage` is the read-only Dagster UI. Only the API listens on `host`: all else is for this machine, and
    the pages of Dagster are reached through the API.
    """
    services = [
        _plan_preparation("migrate", ["migrate", "--only", "jobs"], environment, checkout, after=after),
        # Beside the other one: the API and the workers wait for the tables of jobs only.
        _plan_preparation(
            DAGSTER_TABLES, ["migrate", "--only", "dagster"], environment, checkout, after=after
        ),
        _plan_preparation("seed", ["seed"], environment, checkout, after=("migrate",)),
        _plan_api(environment, checkout, host),
        _plan_code_server(environment, checkout, after),
        _plan_daemon(environment, checkout),
        _plan_worker(environment, checkout),
    ]
    if not visited:
        everything = tuple(service.name for service in services)
        return [*services, replace(_plan_courier(environment, checkout), after=everything, awaited=False)]
    services += [_plan_courier(environment, checkout), _plan_webserver(environment, checkout)]
    if lineage:
        services.append(_plan_lineage(environment, checkout, tuple(service.name for service in services)))
    return services


def _tells_ready(name: str, environment: Mapping[str, str]) -> _SaysSo:
    """For a program without a page: the file in which it says that it is ready, and the probe that looks."""
    path = str(Path(environment["PIPELINE3D_DATA_DIR"]) / ready_file(name))
    return {"environment": {**environment, READY_VARIABLE: path}, "ready": ReadyFileProbe(path=path)}


def _plan_preparation(
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    checkout: Path,
    *,
    after: tuple[str, ...],
) -> Program:
    """A command of our own that ends, and that must have succeeded before others begin."""
    return Program(
        name=name,
        command=[sys.executable, "-m", "pipeline3d.cli", *command],
        environment=environment,
        directory=checkout,
        after=after,
        once=True,
    )


def _plan_api(environment: Mapping[str, str], checkout: Path, host: str) -> Program:
    port = environment["PIPELINE3D_API_PORT"]
    command = [sys.executable, "-m", "uvicorn", "pipeline3d.api.app:create_app", "--factory"]
    # TRUSTED_PROXIES says whose X-Forwarded-For counts; uvicorn would believe whoever is on this host.
    command += ["--host", host, "--port", port, "--no-access-log", "--no-proxy-headers"]
    command += ["--http", "pipeline3d.api.http_protocol:PatientProtocol"]
    command += ["--no-server-header", "--ws-max-size", str(_MOST_SOCKET_BYTES)]
    # Open event streams never end by themselves; a stop may not wait for them.
    command += ["--timeout-graceful-shutdown", str(_SERVICE_STOP_S - 1)]
    return Program(
        name="api",
        command=command,
        environment=environment,
        directory=checkout,
        ready=HttpProbe(url=f"http://{_reachable(host)}:{port}/health"),
        after=("migrate",),
        stop_timeout_s=_SERVICE_STOP_S,
    )


def _plan_code_server(environment: Mapping[str, str], checkout: Path, after: tuple[str, ...]) -> Program:
    port = environment["PIPELINE3D_CODE_SERVER_PORT"]
    command = [sys.executable, "-m", "dagster", "api", "grpc", "-m", "pipeline3d.definitions"]
    return Program(
        name="code-server",
        command=[*command, "-h", LOOPBACK, "-p", port],
        environment=environment,
        directory=checkout,
        ready=GrpcProbe(port=int(port)),
        # Loading the definitions needs no server, and takes longest: it goes on while those begin.
        after=after,
        at_once=True,
        # Whoever asked it anything has ended by then: what a tick still waits for nobody would hear.
        stop_signal="KILL",
        stop_timeout_s=0,
    )


def _plan_daemon(environment: Mapping[str, str], checkout: Path) -> Program:
    return Program(
        name="daemon",
        command=[*_DAEMON, "--log-level", _daemon_log_level(environment.get("LOG_LEVEL", "INFO"))],
        # The sensor thread says it after its first round: the process alone proves nothing.
        **_tells_ready("daemon", environment),
        directory=checkout,
        after=("migrate", DAGSTER_TABLES, "code-server"),
        # Its sensors wait inside their ticks for up to 20 s, so that it nearly never ends by itself in time.
        stop_timeout_s=_DAEMON_STOP_S,
    )


def _plan_worker(environment: Mapping[str, str], checkout: Path) -> Program:
    return Program(
        name="worker",
        # What it serves is configured (PIPELINE3D_WORKER_QUEUES, PIPELINE3D_WORKER_CONCURRENCY).
        command=[sys.executable, "-m", "pipeline3d.cli", "worker", "--grace", str(_SERVICE_STOP_S - 2)],
        # It says it when it has registered, which it does when its processes are there and take runs.
        **_tells_ready("worker", environment),
        directory=checkout,
        after=("migrate",),
        stop_timeout_s=_SERVICE_STOP_S,
    )


def _plan_courier(environment: Mapping[str, str], checkout: Path) -> Program:
    return Program(
        name="courier",
        command=[sys.executable, "-m", "pipeline3d.cli", "courier"],
        # It says it when it listens: from then on a message goes out as soon as it is queued.
        **_tells_ready("courier", environment),
        directory=checkout,
        after=("migrate",),
        stop_timeout_s=_SERVICE_STOP_S,
    )


def _daemon_log_level(wanted: str) -> str:
    """At INFO the daemon writes three lines for every tick of every sensor: that is for those who debug."""
    return "warning" if wanted == "INFO" else wanted.lower()


def _plan_webserver(environment: Mapping[str, str], checkout: Path) -> Program:
    port = environment["PIPELINE3D_DAGSTER_PORT"]
    return Program(
        name="webserver",
        command=_build_webserver(port, "/dagster"),
        environment=environment,
        directory=checkout,
        ready=HttpProbe(url=f"http://{LOOPBACK}:{port}/dagster/server_info"),
        after=("migrate", DAGSTER_TABLES, "code-server"),
        stop_timeout_s=_SERVICE_STOP_S,
    )


def _plan_lineage(environment: Mapping[str, str], checkout: Path, after: tuple[str, ...]) -> Program:
    """The read-only Dagster UI. It keeps nobody waiting: it begins when all else is ready."""
    port = environment["PIPELINE3D_LINEAGE_PORT"]
    return Program(
        name="lineage",
        command=[
            *_build_webserver(port, "/lineage"),
            *("--read-only", "--live-data-poll-rate", str(_SLOW_POLL_MS)),
        ],
        environment=environment,
        directory=checkout,
        ready=HttpProbe(url=f"http://{LOOPBACK}:{port}/lineage/server_info"),
        after=after,
        awaited=False,
        # It changes nothing, so there is nothing to bring to an end.
        stop_signal="KILL",
        stop_timeout_s=0,
    )


def _build_webserver(port: str, path: str) -> list[str]:
    """A webserver for this machine alone: Dagster knows no users, so nobody else may reach it."""
    command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml"]
    return [*command, "-h", LOOPBACK, "-p", port, "--path-prefix", path]


def _reachable(host: str) -> str:
    """Where a server that listens on `host` answers on this machine."""
    return LOOPBACK if host in {"0.0.0.0", "::"} else host
