"""Ending processes with all that they started: real ones, which start others and die at the wrong moment."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from pipeline3d.launch.process_tree import end_orphans, is_below, signal_all, tree_of
from pipeline3d_tests.servers import wait_until

SLEEP = "import time; time.sleep(600)"
# Starts a sleeper, says both pids, and waits for it.
FAMILY = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
print(os.getpid(), child.pid, flush=True)
child.wait()
"""
NO_PID = 2**22 + 1
"""Above the largest pid that Linux gives."""


@pytest.fixture
def start():
    """Starts Python programs that are ended with the test; `says` waits for their first line."""
    begun: list[subprocess.Popen] = []

    def begin(program: str) -> tuple[subprocess.Popen, list[int]]:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        begun.append(process)
        said = process.stdout.readline().split() if "print" in program else []
        return process, [int(pid) for pid in said]

    yield begin
    for process in begun:
        signal_all(tree_of(process.pid), signal.SIGKILL)
        process.wait()
        process.stdout.close()


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_tree_is_the_process_and_everything_below_it(start):
    process, pids = start(FAMILY)
    assert [member.pid for member in tree_of(process.pid)] == pids


def test_a_process_that_is_gone_has_no_tree_and_is_below_nobody(start):
    process, _ = start("")
    process.wait()
    assert tree_of(process.pid) == []
    assert not is_below(process.pid, os.getpid())
    assert tree_of(NO_PID) == []
    assert not is_below(NO_PID, os.getpid())


def test_children_and_their_children_are_below_and_nothing_else_is(start):
    process, (pid, grandchild) = start(FAMILY)
    stranger, _ = start(SLEEP)
    assert is_below(pid, os.getpid())
    assert is_below(grandchild, os.getpid())
    assert is_below(grandchild, pid)
    # a pid that was given to a new process, which this ancestor did not start
    assert not is_below(stranger.pid, pid)
    assert not is_below(pid, pid)
    assert not is_below(os.getpid(), pid)


def test_a_dead_process_that_nobody_collected_is_not_alive(start):
    process, _ = start("")
    wait_until(
        lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, what="the child is a zombie"
    )
    assert not is_below(process.pid, os.getpid())


def test_a_signal_reaches_every_member_that_still_lives(start):
    process, pids = start(FAMILY)
    members = tree_of(process.pid)
    assert signal_all(members, signal.SIGKILL) == 2
    process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids), what="the tree is gone")
    assert signal_all(members[:1], signal.SIGKILL) == 0


def test_a_stopped_process_is_killed_all_the_same(start):
    process, _ = start(SLEEP)
    process.send_signal(signal.SIGSTOP)
    signal_all(tree_of(process.pid), signal.SIGINT)
    signal_all(tree_of(process.pid), signal.SIGKILL)
    assert process.wait(timeout=40) == -signal.SIGKILL


# A process of its own, since it becomes the parent of every orphan and ends all its children.
ADOPTER = textwrap.dedent(
    f"""
    import json, os, psutil, subprocess, sys, time
    from pipeline3d.launch.process_tree import adopt_orphans, end_orphans

    adopt_orphans()
    spared = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
    parent = subprocess.Popen([sys.executable, "-c", {FAMILY!r}], stdout=subprocess.PIPE, text=True)
    orphan = psutil.Process(int(parent.stdout.readline().split()[1]))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while orphan.ppid() == parent.pid and time.monotonic() < deadline:
        time.sleep(0.01)
    adopted = orphan.ppid() == os.getpid()
    ended = end_orphans(spared={{spared.pid}})
    print(json.dumps({{
        "adopted": adopted,
        "ended": ended == [orphan.pid],
        "orphan lives": psutil.pid_exists(orphan.pid),
        "spared lives": spared.poll() is None,
        "rest": end_orphans(spared=set()) == [spared.pid],
    }}))
    """
)


def test_what_a_dead_process_left_behind_is_adopted_and_ended_and_the_rest_is_spared():
    done = subprocess.run([sys.executable, "-c", ADOPTER], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "adopted": True,
        "ended": True,
        "orphan lives": False,
        "spared lives": True,
        "rest": True,
    }


def test_a_process_without_orphans_ends_nothing(start):
    process, _ = start(SLEEP)
    assert end_orphans(spared={child.pid for child in psutil.Process().children()}) == []
    assert is_running(process.pid)


# Starts a process that ends with it, which starts a program; says the pids of both.
WATCHED = f"""
import os, subprocess, sys
from pipeline3d.launch.process_tree import end_with_parent
if os.fork() == 0:
    end_with_parent(0.02)
    child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
    print(os.getpid(), child.pid, flush=True)
    child.wait()
os.wait()
"""


def test_a_process_that_ends_with_its_parent_takes_its_programs_along(start):
    process, pids = start(WATCHED)
    assert all(is_running(pid) for pid in pids)
    process.kill()
    wait_until(lambda: not any(is_running(pid) for pid in pids), what="nothing is left")


# As Celery's pool: a thread forks a process that asks to be killed with its parent, and then ends.
FORKED_BY_A_THREAD = f"""
import os, threading, time
from celery import platforms
from pipeline3d.launch.process_tree import end_with_parent

told, tell = os.pipe()

def fork():
    if os.fork() == 0:
        platforms.set_pdeathsig("SIGKILL")
        end_with_parent(0.02)
        os.write(tell, b"asked")
        print(os.getpid(), flush=True)
        time.sleep(600)
    os.read(told, 5)

thread = threading.Thread(target=fork)
thread.start()
thread.join()
{SLEEP}
"""


def test_the_end_of_the_thread_that_forked_a_process_is_not_the_end_of_its_parent(start):
    process, [pid] = start(FORKED_BY_A_THREAD)
    ended_at = time.monotonic() + 0.3
    wait_until(lambda: not is_running(pid) or time.monotonic() > ended_at, what="the time is over")
    assert is_running(pid)
    process.kill()
    wait_until(lambda: not is_running(pid), what="it ends with the process")
