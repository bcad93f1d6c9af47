"""Devices on a real Postgres: one run at a time has them, and everybody sees who."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from pipeline3d.database.tables import device_leases
from pipeline3d.errors import ModelNotReady, TransientFailure
from pipeline3d.requests.gpu_leases import DeviceBoard, DeviceUse
from pipeline3d_tests.servers import wait_until
from resources.gpu import Device, Devices, choose_device
from resources.jobs_database import JobsDatabase

CPU = Device(name="cpu", local="cpu")
GPU = Device(name="cuda:0", local="cuda:0")


@pytest.fixture
def board(engine, rows) -> DeviceBoard:
    rows.run(device_leases.delete())
    return DeviceBoard(engine)


@pytest.fixture
def devices(board, database_url, tmp_path) -> Devices:
    return Devices(
        jobs_database=JobsDatabase(url=database_url),
        lease_dir=str(tmp_path / "devices"),
        worker_id="w1",
        wait_s=0.2,
    )


def use(**values) -> DeviceUse:
    return DeviceUse(
        **{"host": "h1", "device": "cuda:0", "pid": 7, "model": "sf3d", "run_id": "r1", **values}
    )


# -- the board


def test_what_a_process_shows_is_listed_as_it_is(board):
    shown = use(worker_id="w1", reserved_bytes=6 * 10**9, limit_bytes=8 * 10**9, residents=[{"key": "sf3d"}])
    board.show(shown)
    [lease] = board.list()
    assert lease.use == shown
    assert lease.taken_at is not None
    assert 0 <= lease.silent_s < 10


def test_a_run_keeps_its_beginning_and_the_next_one_has_its_own(board):
    board.show(use())
    [first] = board.list()
    board.show(use(free_bytes=1))
    [again] = board.list()
    assert (again.taken_at, again.use.free_bytes) == (first.taken_at, 1)
    board.show(use(run_id="r2"))
    [other] = board.list()
    assert other.taken_at > first.taken_at
    board.show(use(run_id=None, model=None))
    [idle] = board.list()
    assert (idle.taken_at, idle.taken_s) == (None, None)


def test_processes_and_devices_have_rows_of_their_own_in_order(board):
    for host, device, pid in [("h2", "cpu", 1), ("h1", "cuda:1", 2), ("h1", "cpu", 3), ("h1", "cpu", 1)]:
        board.show(use(host=host, device=device, pid=pid))
    listed = [(lease.use.host, lease.use.device, lease.use.pid) for lease in board.list()]
    assert listed == [("h1", "cpu", 1), ("h1", "cpu", 3), ("h1", "cuda:1", 2), ("h2", "cpu", 1)]
    board.remove("h1", 3)
    assert len(board.list()) == 3


def test_a_process_that_went_silent_is_not_listed_and_its_rows_go(board, rows):
    board.show(use())
    board.show(use(pid=8))
    rows.run(
        device_leases.update()
        .where(device_leases.c.pid == 7)
        .values(heartbeat_at=device_leases.c.heartbeat_at - timedelta(minutes=2))
    )
    assert [lease.use.pid for lease in board.list()] == [8]
    assert board.remove_silent() == 1
    assert board.remove_silent() == 0


def test_postgres_refuses_a_lease_that_is_half_taken(board, rows):
    board.show(use())
    with pytest.raises(IntegrityError, match="ck_device_leases_taken_is_whole"):
        rows.run(device_leases.update().values(taken_at=None))


# -- the resource


def test_who_holds_a_device_is_seen_while_it_holds_it(devices, board):
    with devices.hold(CPU, model="triposr", run_id="r1", reserved_bytes=10):
        wait_until(lambda: any(lease.use.run_id == "r1" for lease in board.list()), what="it is shown")
        [lease] = [lease for lease in devices.list_uses() if lease.use.run_id == "r1"]
        seen = lease.use
        assert (seen.host, seen.pid, seen.worker_id) == (platform.node(), os.getpid(), "w1")
        assert (seen.device, seen.model, seen.reserved_bytes) == ("cpu", "triposr", 10)
    wait_until(lambda: all(lease.use.run_id != "r1" for lease in board.list()), what="it is given back")


def test_a_gpu_that_another_run_has_is_busy(devices):
    with devices.hold(GPU, model="a"):
        with pytest.raises(TransientFailure) as raised, devices.hold(GPU, model="b"):
            pass
        assert raised.value.code == "device_busy"


# A process of another worker on the same host, which takes the device.
HOLDER = """
import sys, time
from resources.gpu import Device, Devices
from resources.jobs_database import JobsDatabase
devices = Devices(jobs_database=JobsDatabase(url=sys.argv[1]), lease_dir=sys.argv[2], worker_id="w2")
with devices.hold(Device(name="cuda:0", local="cuda:0"), model="held", run_id="r2"):
    print("taken", flush=True)
    time.sleep(600)
"""


def test_a_worker_that_is_killed_gives_its_device_back_at_once(devices, database_url):
    command = [sys.executable, "-c", HOLDER, database_url, devices.lease_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"taken\n"
        wait_until(lambda: any(lease.use.worker_id == "w2" for lease in devices.list_uses()), what="shown")
        with pytest.raises(TransientFailure), devices.hold(GPU, model="b"):
            pass
        other.kill()
        other.wait()
    with devices.hold(GPU, model="b"):
        pass


def test_runs_go_on_without_postgres(devices, database_url, postgres_server, fresh_database, tmp_path):
    url = fresh_database()
    blind = Devices(jobs_database=JobsDatabase(url=url), lease_dir=str(tmp_path / "devices"), wait_s=0.2)
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{url.rsplit("/", 1)[-1]}" WITH (FORCE)')
    with blind.hold(GPU, model="a") as hold:
        assert hold.model == "a"


@pytest.mark.parametrize(
    ("wanted", "visible", "gpus", "name", "local"),
    [
        ("auto", None, 0, "cpu", "cpu"),
        ("auto", None, 2, "cuda:0", "cuda:0"),
        ("auto", "1", 2, "cuda:1", "cuda:0"),  # the worker was given the second one
        ("auto", "", 2, "cpu", "cpu"),
        ("auto", "-1", 2, "cpu", "cpu"),
        ("auto", "0", 0, "cpu", "cpu"),  # a variable makes no GPU
        ("cpu", None, 2, "cpu", "cpu"),
        ("cuda", "GPU-4f2a", 1, "cuda:GPU-4f2a", "cuda:0"),
        ("cuda:1", "3, 5", 8, "cuda:5", "cuda:1"),
    ],
)
def test_the_device_is_the_one_that_this_process_may_see(wanted, visible, gpus, name, local):
    device = choose_device(wanted, visible, gpus)
    assert (device.name, device.local) == (name, local)
    assert device.visible == ("" if name == "cpu" else name.removeprefix("cuda:"))


@pytest.mark.parametrize(
    ("wanted", "visible", "gpus"), [("cuda", None, 0), ("cuda:1", "3", 4), ("cuda", "", 1), ("tpu", None, 1)]
)
def test_a_gpu_that_is_not_there_is_not_promised(wanted, visible, gpus):
    with pytest.raises(ModelNotReady) as raised:
        choose_device(wanted, visible, gpus)
    assert raised.value.code == "device_missing"
