import os
import signal
import sys
import time
from dataclasses import replace

import psutil
import pytest

from pipeline3d.errors import ServerFailure
from pipeline3d.local.data_lock import DataLock
from pipeline3d.local.leftovers import find_processes_of
from pipeline3d.local.ports import choose_free_ports
from pipeline3d.local.stack import Stack
from pipeline3d.local.supervision import Program
from pipeline3d_tests.integration.local.fake_installation import NAMES, build_programs
from pipeline3d_tests.servers import wait_until


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def fake_programs(journal):
    return build_programs(choose_free_ports(NAMES).values(), journal)


def read_events(journal, *kinds):
    """`(event, program)` in the order in which they happened."""
    events = [tuple(line.split()[:2]) for line in journal.read_text().splitlines()]
    return [event for event in events if event[0] in kinds]


def test_programs_begin_when_the_ones_before_them_are_healthy_and_stop_in_reverse(tmp_path, journal):
    slow = ["--slow-s", "0.5"]
    fake_programs = build_programs(choose_free_ports(NAMES).values(), journal, first_options=slow)
    reported, lines = [], []
    data = tmp_path / "odd %20name ;#é"
    with DataLock(data) as lock, Stack(lock, show=lines.append) as stack:
        stack.start(fake_programs, on_ready=lambda name, seconds: reported.append((name, seconds)))
        wait_until(lambda: any("third" in line for line in lines), what="the third program's log line")
        assert stack.stop() < 20

    assert [name for name, _ in reported] == list(NAMES)
    assert reported[0][1] >= 0.5, "the first one takes half a second to become healthy"
    assert read_events(journal, "begin", "healthy")[:4] == [
        ("begin", "first"),
        ("healthy", "first"),
        ("begin", "second"),
        ("healthy", "second"),
    ]
    assert read_events(journal, "stop") == [("stop", name) for name in reversed(NAMES)]
    assert "first  | hello from first" in lines
    assert "second | hello from second" in lines
    assert (data / "logs" / "first.log").read_text() == "hello from first\n"
    assert find_processes_of(data) == []


def test_a_killed_program_is_started_again(tmp_path, journal, fake_programs):
    with DataLock(tmp_path / "data") as lock, Stack(lock) as stack:
        stack.start(fake_programs)
        before = stack.pid_of("second")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: stack.pid_of("second") != before, what="a new second program")
        wait_until(fake_programs[1].ready.holds, what="the second program's health")
        assert psutil.Process(stack.pid_of("second")).is_running()
    assert len(read_events(journal, "begin")) == 4


def test_a_start_does_not_wait_for_a_program_that_is_not_awaited(tmp_path, journal, fake_programs):
    never = Program(
        name="never",
        command=[sys.executable, "-c", "import time; time.sleep(600)"],
        directory=tmp_path,
        ready=replace(fake_programs[0].ready, url="http://127.0.0.1:1/"),
        after=(fake_programs[-1].name,),
        awaited=False,
        stop_signal="KILL",
        stop_timeout_s=0,
    )
    with DataLock(tmp_path / "data") as lock, Stack(lock) as stack:
        stack.start([*fake_programs, never], deadline_s=60)
        wait_until(lambda: stack.pid_of("never") is not None, what="the last program's begin")
        assert stack.stop() < 20
    assert find_processes_of(tmp_path / "data") == []


def test_stubborn_programs_are_stopped_within_seconds(tmp_path, journal):
    programs = build_programs(choose_free_ports(NAMES).values(), journal, ["--stubborn"])
    with DataLock(tmp_path / "data") as lock, Stack(lock) as stack:
        stack.start(programs)
        assert stack.stop() < 20
    assert read_events(journal, "stop") == [("stop", name) for name in reversed(NAMES)]
    assert find_processes_of(tmp_path / "data") == []


def test_a_program_that_cannot_start_is_explained_with_its_log(tmp_path):
    broken = Program(
        name="broken",
        command=[sys.executable, "-c", "import sys; sys.exit('the port is painted blue')"],
        directory=tmp_path,
        ready=None,
        after=("broken-first",),
    )
    once = Program(
        name="broken-first",
        command=[sys.executable, "-c", "import sys; sys.exit('no such table: jobs')"],
        directory=tmp_path,
        once=True,
    )
    began = time.monotonic()
    with (
        DataLock(tmp_path / "data") as lock,
        Stack(lock) as stack,
        pytest.raises(ServerFailure, match="no such table: jobs") as failure,
    ):
        stack.start([broken, once])
    assert failure.value.code == "program_not_ready"
    assert failure.value.details == {"program": "broken-first"}
    assert time.monotonic() - began < 60
    assert find_processes_of(tmp_path / "data") == []


def test_a_program_that_ends_once_lets_the_next_begin_and_is_not_repeated(tmp_path):
    marks = tmp_path / "marks"
    append = f"open({str(marks)!r}, 'a').write('x')"
    once = Program(name="once", command=[sys.executable, "-c", append], directory=tmp_path, once=True)
    serve = "import time; print('after', flush=True); time.sleep(600)"
    then = Program(
        name="then",
        command=[sys.executable, "-c", serve],
        directory=tmp_path,
        after=("once",),
        stop_timeout_s=1,
    )
    lines = []
    with DataLock(tmp_path / "data") as lock, Stack(lock, show=lines.append) as stack:
        stack.start([once, then])
        wait_until(lambda: lines, what="a line of the second program")
    assert marks.read_text() == "x"


def test_a_second_stack_on_the_same_data_says_where_the_first_is(tmp_path):
    with DataLock(tmp_path / "data") as lock:
        lock.announce({"API": "http://127.0.0.1:1234"})
        with pytest.raises(ServerFailure, match=r"already: API http://127\.0\.0\.1:1234") as failure:
            DataLock(tmp_path / "data").__enter__()
    assert failure.value.code == "already_running"
    assert str(os.getpid()) in failure.value.message
    with DataLock(tmp_path / "data"):
        pass


def test_secrets_of_a_program_are_in_private_files_only(tmp_path, journal):
    programs = build_programs(choose_free_ports(NAMES).values(), journal)
    programs[0] = replace(programs[0], environment={"PASSWORD": "do-not-tell"})
    with DataLock(tmp_path / "data") as lock, Stack(lock) as stack:
        stack.start(programs)
        for process in find_processes_of(tmp_path / "data"):
            assert "do-not-tell" not in " ".join(process.cmdline())
    assert [path for path in (tmp_path / "data").rglob("*") if path.stat().st_mode & 0o077] == []
