"""A GPU is one run's at a time, the RAM is shared up to a budget, and a dead process has nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline3d.errors import LeaseLost, TransientFailure
from pipeline3d.generation.serving.device_ledger import DeviceLedger
from pipeline3d_tests.servers import wait_until

GPU = "cuda:0"


@pytest.fixture
def ledger(tmp_path) -> DeviceLedger:
    return DeviceLedger(tmp_path / "devices")


def test_a_gpu_has_one_run_at_a_time(ledger):
    at_once, most = [0], []
    lock = threading.Lock()

    def work(number: int) -> None:
        with ledger.hold(GPU, model=f"m{number}"):
            with lock:
                at_once[0] += 1
                most.append(at_once[0])
            with lock:
                at_once[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert most == [1] * 12
    assert ledger.holds(GPU) == ()


def test_a_hold_says_whose_it_is(ledger):
    with ledger.hold(GPU, model="triposr", run_id="r1", reserved_bytes=5):
        [hold] = ledger.holds(GPU)
        assert (hold.pid, hold.model, hold.run_id, hold.reserved_bytes) == (os.getpid(), "triposr", "r1", 5)
        assert not hold.waits
        assert ledger.holds("cuda:1") == ()


def test_two_gpus_are_two_devices(ledger):
    with ledger.hold("cuda:0", model="a"), ledger.hold("cuda:1", model="b"):
        assert len(ledger.holds("cuda:0") + ledger.holds("cuda:1")) == 2


def test_the_ram_is_shared_up_to_its_budget(ledger):
    share = {"device": "cpu", "reserved_bytes": 40, "budget_bytes": 100, "wait_s": 0.0}
    with ledger.hold(**share, model="a"), ledger.hold(**share, model="b"):
        with pytest.raises(TransientFailure) as raised, ledger.hold(**share, model="c"):
            pass
        assert raised.value.code == "device_busy"
        assert [hold.model for hold in ledger.holds("cpu")] == ["a", "b"]
    with ledger.hold(**share, model="c"):
        pass


def test_one_that_is_alone_has_room_whatever_it_needs(ledger):
    with ledger.hold("cpu", model="a", reserved_bytes=500, budget_bytes=100):
        pass


def test_a_run_that_has_the_device_has_it_for_a_second_model_too(ledger):
    with ledger.hold(GPU, model="a", run_id="r1"), ledger.hold(GPU, model="b", run_id="r1", wait_s=0.0):
        with pytest.raises(TransientFailure), ledger.hold(GPU, model="c", run_id="r2", wait_s=0.0):
            pass
        with pytest.raises(TransientFailure), ledger.hold(GPU, model="c", wait_s=0.0):
            pass


def test_whoever_came_first_is_served_first(ledger):
    served = []

    def work(name: str) -> None:
        with ledger.hold(GPU, model=name):
            served.append(name)

    with ThreadPoolExecutor(3) as pool, ledger.hold(GPU, model="holder"):
        for name in "abc":
            pool.submit(work, name)
            wait_until(
                lambda name=name: name in {hold.model for hold in ledger.holds(GPU)}, what=f"{name} waits"
            )
    assert served == ["a", "b", "c"]


def test_one_that_waits_can_be_canceled_and_leaves_the_queue(ledger):
    with ledger.hold(GPU, model="a"):
        with pytest.raises(LeaseLost), ledger.hold(GPU, model="b", is_canceled=lambda: True):
            pass
        assert [hold.model for hold in ledger.holds(GPU)] == ["a"]


# Takes the device, waits for it too, and is killed.
HOLDER = f"""
import sys, threading, time
from pathlib import Path
from pipeline3d.generation.serving.device_ledger import DeviceLedger
ledger = DeviceLedger(Path(sys.argv[1]))
def wait():
    with ledger.hold({GPU!r}, model="waits too"): pass
with ledger.hold({GPU!r}, model="killed"):
    threading.Thread(target=wait, daemon=True).start()
    while len(ledger.holds({GPU!r})) < 2: time.sleep(0.01)
    print("taken", flush=True)
    time.sleep(600)
"""


def test_a_process_that_is_killed_has_no_device_any_more(ledger, tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "devices")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"taken\n"
        with pytest.raises(TransientFailure), ledger.hold(GPU, model="a", wait_s=0.2):
            pass
        process.kill()
        process.wait()
    with ledger.hold(GPU, model="a", wait_s=0.0):
        assert [hold.model for hold in ledger.holds(GPU)] == ["a"]


def test_a_pid_that_another_process_has_by_now_holds_nothing(ledger, tmp_path):
    with ledger.hold(GPU, model="a"):
        path = tmp_path / "devices" / "cuda-0.json"
        [hold] = json.loads(path.read_text())
        path.write_text(json.dumps([{**hold, "process": hold["process"] + "0"}]))
        assert ledger.holds(GPU) == ()


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"pid": 1}]', "[" * 100_000, "null"])
def test_a_damaged_file_is_begun_anew(ledger, tmp_path, text):
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "cuda-0.json").write_text(text)
    with ledger.hold(GPU, model="a", wait_s=0.0):
        assert len(ledger.holds(GPU)) == 1
