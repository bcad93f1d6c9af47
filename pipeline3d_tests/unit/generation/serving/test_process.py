"""Programs that are ended with all that they started, whatever they do and however we end."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import psutil
import pytest

from pipeline3d.generation.serving.capped_log import CappedLog
from pipeline3d.generation.serving.process import (
    LONGEST_LINE,
    KeptProcess,
    LineTooLong,
    OutputEnded,
    ProcessLimits,
)
from pipeline3d_tests.servers import wait_until
from pipeline3d_tests.unit.generation.serving.conftest import is_running

# Starts a child in its group and one in a session of its own, both deaf; says all pids.
FAMILY = """
import os, signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN); "
deaf += "time.sleep(600)"
children = [subprocess.Popen([sys.executable, "-c", deaf], start_new_session=own) for own in (False, True)]
print(os.getpid(), *(child.pid for child in children), flush=True)
time.sleep(600)
"""
ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def run(tmp_path):
    """Starts Python programs that are ended with the test."""
    begun = []

    def begin(text: str, **options) -> KeptProcess:
        command = options.pop("command", [sys.executable, "-c", text])
        log = CappedLog(tmp_path / f"{len(begun)}.log")
        begun.append(KeptProcess(command, environment=ENVIRONMENT, log=log, **options))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()


def pids_of(process: KeptProcess) -> list[int]:
    line = process.next_line(20)
    assert line is not None
    return [int(pid) for pid in line.split()]


def test_a_program_is_ended_with_children_that_left_its_group_and_ignore_every_request(run):
    process = run(FAMILY)
    pids = pids_of(process)
    assert {member.pid for member in process.members()} == set(pids)
    process.end(ladder=[(signal.SIGINT, 0.1), (signal.SIGTERM, 0.1)])
    assert not any(is_running(pid) for pid in [*pids, process.pid])


def test_what_a_program_leaves_behind_at_its_end_goes_too(run):
    process = run(FAMILY.replace("time.sleep(600)\n", "\n"))
    pids = pids_of(process)
    assert process.wait(20) == 0
    assert not any(is_running(pid) for pid in pids)


def test_a_program_that_listens_ends_by_itself_when_asked(run):
    text = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(6))\n"
    process = run(text + "print(1, flush=True)\ntime.sleep(60)")
    process.next_line(20)
    assert process.end(ladder=[(signal.SIGTERM, 20.0)]) == 6


def test_a_stopped_program_is_ended_all_the_same(run):
    process = run("import os\nprint(os.getpid(), flush=True)\nos.kill(os.getpid(), 19)")
    [pid] = pids_of(process)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, what="it stands still")
    assert process.kill() == 128 + signal.SIGKILL
    assert not is_running(pid)


def test_an_end_that_is_interrupted_is_an_end_all_the_same(run):
    process = run(FAMILY)
    pids = pids_of(process)

    def interrupted():
        yield signal.SIGINT, 0.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.end(ladder=interrupted())
    wait_until(lambda: not any(is_running(pid) for pid in pids), what="the keeper did the rest")


def test_ending_twice_and_from_two_threads_is_harmless(run):
    process = run(FAMILY)
    pids_of(process)
    threads = [threading.Thread(target=process.kill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.exit_code == 128 + signal.SIGKILL


# As a worker: starts a program from a thread that ends at once, says the pids, and stays.
WORKER = textwrap.dedent(
    f"""
    import os, sys, threading, time
    from pathlib import Path
    from pipeline3d.generation.serving.capped_log import CappedLog
    from pipeline3d.generation.serving.process import KeptProcess

    def start():
        global kept
        log = CappedLog(Path(sys.argv[1]))
        kept = KeptProcess([sys.executable, "-c", {FAMILY!r}], environment=dict(os.environ), log=log)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(600)  # holds every descriptor that its parent had
    print(kept.pid, *map(int, kept.next_line(20).split()), flush=True)
    time.sleep(600)
    """
)


@pytest.mark.parametrize("more", [[], ["fork"]])
def test_a_worker_that_is_killed_leaves_no_process(tmp_path, more):
    command = [sys.executable, "-c", WORKER, str(tmp_path / "log"), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as worker:
        try:
            pids = [int(pid) for pid in worker.stdout.readline().split()]
            assert len(pids) == 4
            assert all(is_running(pid) for pid in pids)
            worker.kill()
            wait_until(lambda: not any(is_running(pid) for pid in pids), what="nothing is left")
        finally:
            os.killpg(worker.pid, signal.SIGKILL) if more else worker.kill()


def test_a_program_that_outlives_the_thread_that_started_it_goes_on(run):
    started = []
    thread = threading.Thread(target=lambda: started.append(run(FAMILY)))
    thread.start()
    thread.join()
    pids = pids_of(started[0])
    assert started[0].wait(0.7) is None
    assert all(is_running(pid) for pid in pids)


def test_a_killed_keeper_takes_its_program_along(run):
    process = run("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)")
    [pid] = pids_of(process)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), what="the program ends with its keeper")


@pytest.mark.parametrize(
    ("text", "exit_code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 11)", 128 + 11),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9),
    ],
)
def test_the_exit_code_says_how_it_ended(run, text, exit_code):
    process = run(text)
    assert process.wait(20) == exit_code
    with pytest.raises(OutputEnded):
        process.next_line(1)


def test_a_program_that_does_not_exist_says_so(run):
    process = run("", command=["/nowhere/python", "run.py"])
    assert process.wait(20) == 127
    process.end()
    assert process.log.tail().startswith("cannot start /nowhere/python: [Errno 2] No such file")


def test_interrupts_end_a_program_unless_it_is_deaf_to_them(run):
    text = "import signal, time\nprint(signal.getsignal(2) == signal.SIG_IGN, flush=True)\ntime.sleep(600)"
    assert run(text).next_line(20) == b"False"
    assert run(text, ignore_interrupt=True).next_line(20) == b"True"


def test_lines_come_whole_and_empty_ones_not_at_all(run):
    process = run("import os, time\nos.write(1, b'a');time.sleep(0.1);os.write(1, b'b\\n\\n  \\nc\\nrest')")
    assert [process.next_line(20) for _ in range(2)] == [b"ab", b"c"]
    with pytest.raises(OutputEnded):  # what has no end is no line
        process.next_line(20)


@pytest.mark.parametrize("end", ["", "\\n"])
def test_a_line_without_an_end_is_refused_and_costs_no_memory(run, end):
    process = run(
        f"import os\nfor _ in range(64): os.write(1, b'x' * {LONGEST_LINE // 16})\nos.write(1, b'{end}')"
    )
    with pytest.raises(LineTooLong):
        process.next_line(20)
    with pytest.raises(LineTooLong):
        process.next_line(20)
    assert process.wait(20) == 0  # it could write to its end


def test_whoever_writes_more_lines_than_are_read_waits_and_can_still_be_ended(run):
    process = run("while True: print('x' * 1000)")
    assert process.next_line(20) == b"x" * 1000
    process.kill()
    assert process.exit_code == 128 + signal.SIGKILL


def test_a_program_that_does_not_read_is_noticed(run):
    process = run("import time; time.sleep(600)")
    with pytest.raises(TimeoutError):
        process.write_line(b"x" * 10_000_000, timeout_s=0.2)


def test_a_program_that_has_ended_takes_no_line(run):
    process = run("")
    process.wait(20)
    with pytest.raises(OSError, match="Broken pipe"):
        process.write_line(b"x")


@pytest.mark.parametrize(
    ("limits", "text", "said"),
    [
        (ProcessLimits(memory_bytes=200_000_000), "bytearray(400_000_000)", "MemoryError"),
        (ProcessLimits(open_files=20), "[open('/dev/null') for _ in range(30)]", "Too many open files"),
        (ProcessLimits(file_bytes=1000), "import os;os.write(os.open('big', 66), b'x' * 5000); 1/0", ""),
        (ProcessLimits(), "import resource; assert resource.getrlimit(4) != (0, 0)", "AssertionError"),
    ],
)
def test_the_kernel_refuses_what_is_over_the_limits(run, tmp_path, limits, text, said):
    process = run(text, limits=limits, folder=tmp_path)
    assert process.wait(20) != 0
    process.end()
    assert said in process.log.tail()
    assert not (tmp_path / "big").exists() or (tmp_path / "big").stat().st_size <= 1000


def test_an_endless_loop_ends_with_its_processor_time(run):
    process = run("while True: pass", limits=ProcessLimits(cpu_s=1))
    assert process.wait(30) in (128 + signal.SIGXCPU, 128 + signal.SIGKILL)


def test_only_the_given_environment_is_seen(run, monkeypatch):
    monkeypatch.setenv("MINIO_SECRET_KEY", "secret")
    line = run("import os\nprint(sorted(os.environ), flush=True)").next_line(20)
    assert line is not None
    assert set(eval(line)) <= {"PATH", "LC_CTYPE"}


def test_memory_is_that_of_the_whole_tree(run):
    hold = "import time; kept = bytearray(b'x' * 50_000_000); print(1, flush=True); time.sleep(600)"
    process = run(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {hold!r}])")
    process.next_line(20)
    assert process.memory_bytes() > 55_000_000
