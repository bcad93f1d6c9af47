"""Whatever is killed, nothing of a stack is left and the next one starts."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from pipeline3d.local.data_lock import DataLock
from pipeline3d.local.leftovers import find_processes_of
from pipeline3d.local.ports import choose_free_ports
from pipeline3d_tests.integration.local.fake_installation import NAMES
from pipeline3d_tests.servers import wait_until

ENDED_WITHIN_S = 60.0
"""It takes a second; a busy machine is given more."""


@pytest.fixture
def running(tmp_path):
    """Starts the fake installation as a process of its own, as a person's `up` is."""
    started = []

    def start(*options):
        ports = [str(port) for port in choose_free_ports(NAMES).values()]
        command = [sys.executable, "-m", "pipeline3d_tests.integration.local.fake_installation"]
        process = subprocess.Popen(
            [*command, str(tmp_path / "data"), str(tmp_path / "journal"), *ports, *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        for line in process.stdout:
            if line.strip() == "all ready":
                return process
        raise AssertionError("the fake installation did not start")

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def everything_of(tmp_path, process):
    """All processes that must end: marked ones, and by descent the guardian and the supervisor."""
    found = {other.pid: other for other in psutil.Process(process.pid).children(recursive=True)}
    found.update({other.pid: other for other in find_processes_of(tmp_path / "data")})
    grandchild = next(
        int(line.split()[2])
        for line in (tmp_path / "journal").read_text().splitlines()
        if line.startswith("grandchild")
    )
    assert grandchild in found, "a process in a session of its own belongs to the stack too"
    assert len(found) >= 6, "guardian, supervisor, three programs and a grandchild"
    return list(found.values())


def nothing_left_of(processes):
    return not any(is_left(process) for process in processes)


def is_left(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def test_nothing_is_left_when_the_parent_of_all_is_killed(tmp_path, running):
    process = running()
    processes = everything_of(tmp_path, process)
    process.kill()
    wait_until(lambda: nothing_left_of(processes), what="the end of all processes")
    stops = [line.split()[1] for line in (tmp_path / "journal").read_text().splitlines() if "stop" in line]
    assert stops == ["third", "second", "first"], "a killed parent still means an orderly stop"


def test_nothing_is_left_when_programs_are_stubborn_and_the_parent_is_killed(tmp_path, running):
    process = running("--stubborn")
    processes = everything_of(tmp_path, process)
    process.kill()
    wait_until(lambda: nothing_left_of(processes), what="the end of all processes")


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path, running):
    process = running()
    processes = everything_of(tmp_path, process)
    supervisor = next(
        other for other in processes if "pipeline3d.local.supervisor_process" in other.cmdline()
    )
    supervisor.kill()
    wait_until(lambda: nothing_left_of(processes), what="the end of all processes")
    assert process.wait(ENDED_WITHIN_S) != 0, "the parent says that it failed"


def test_a_new_stack_starts_at_once_after_a_kill(tmp_path, running):
    first = running()
    processes = everything_of(tmp_path, first)
    first.kill()
    with DataLock(tmp_path / "data"):  # waits for the guardian of the killed one
        assert nothing_left_of(processes)
    second = running()
    assert second.poll() is None


def test_a_new_stack_ends_what_an_old_one_left_when_its_guardian_was_killed_too(tmp_path, running):
    first = running("--stubborn")
    processes = everything_of(tmp_path, first)
    guardian = next(other for other in processes if "pipeline3d.local.guardian" in other.cmdline())
    guardian.kill()
    first.kill()
    with DataLock(tmp_path / "data"):
        assert nothing_left_of([other for other in processes if other.pid != first.pid])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_to_the_parent_stops_everything_in_order(tmp_path, running, number):
    process = running()
    processes = everything_of(tmp_path, process)
    os.kill(process.pid, number)
    process.wait(ENDED_WITHIN_S)
    assert nothing_left_of([other for other in processes if other.pid != process.pid])
    stops = [line.split()[1] for line in (tmp_path / "journal").read_text().splitlines() if "stop" in line]
    assert stops == ["third", "second", "first"]
