"""Real wrappers that behave, misbehave and die: the caller gets a result whose files exist, or an error."""

from __future__ import annotations

import itertools
import os
import signal
import threading

import psutil
import pytest

from pipeline3d.errors import (
    BrokenModelOutput,
    LeaseLost,
    ModelNotReady,
    PermanentFailure,
    TransientFailure,
    UnusableInput,
)
from pipeline3d.generation.serving import OutputLimits, WrapperRequest, start_wrapper
from pipeline3d_tests.servers import wait_until
from pipeline3d_tests.unit.generation.serving.conftest import is_running

MODES = ["resident", "one_shot"]
IMPATIENT = {"cancel_s": 0.3}


@pytest.fixture(params=MODES)
def wrapper(request, start, program):
    """The stand-in in both modes."""
    return start(program(), request.param)


def canceled_after(looks: int):
    """Says that a run is not wanted any more once it was asked so often."""
    asked = itertools.count()
    return lambda: next(asked) >= looks


def test_a_run_gives_files_that_exist_and_what_it_told_of_them(wrapper, request_for):
    request = request_for(steps=3, note="a note")
    seen = []
    wrapper.load()
    done = wrapper.run(request, seen.append)
    [output] = done.outputs
    assert output.path.read_bytes()[:4] == b"glTF"
    assert (output.name, output.content_type) == ("mesh.glb", "model/gltf-binary")
    assert output.size == output.path.stat().st_size
    assert (done.seed, done.notes, done.facts["steps"]) == (7, ("a note",), 3)
    assert [progress.message for progress in seen][:1] == ["working"]


def test_a_resident_wrapper_loads_once_for_many_runs(start, program, request_for):
    wrapper = start(program())
    loaded = wrapper.load()
    assert loaded.device == "cpu"
    assert loaded.memory_bytes > 1_000_000
    counts = [wrapper.run(request_for()).facts for _ in range(3)]
    assert [(facts["loads"], facts["runs"]) for facts in counts] == [(1, 1), (1, 2), (1, 3)]
    health = wrapper.health()
    assert (health.state, health.runs, health.loaded) == ("idle", 3, True)
    wrapper.free()
    wrapper.unload()
    assert wrapper.health().loaded is False


def test_a_one_shot_wrapper_leaves_nothing_between_runs(start, program, request_for, tmp_path):
    wrapper = start(program(), "one_shot")
    assert wrapper.health() is None
    wrapper.run(request_for())
    assert wrapper.pid is None
    assert list(tmp_path.glob("logs/*.json")) == []
    assert wrapper.is_alive


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ({"fails": "invalid_request"}, PermanentFailure, "invalid_request"),
        ({"fails": "prompt_rejected"}, UnusableInput, "prompt_rejected"),
        ({"fails": "model_missing"}, ModelNotReady, "model_missing"),
        ({"fails": "weights_missing"}, ModelNotReady, "weights_missing"),
        ({"fails": "weights_invalid"}, ModelNotReady, "weights_invalid"),
        ({"fails": "licence_not_accepted"}, ModelNotReady, "licence_not_accepted"),
        ({"fails": "empty_output"}, BrokenModelOutput, "empty_output"),
        ({"fails": "script_hung"}, TransientFailure, "script_hung"),
        ({"fails": "timeout"}, PermanentFailure, "timeout"),
        ({"fails": "wrapper_fault"}, PermanentFailure, "wrapper_fault"),
        ({"out_of_memory": 1}, TransientFailure, "out_of_memory"),
        ({"gpu_lost": True}, TransientFailure, "gpu_lost"),
        ({"raises": True}, PermanentFailure, "script_failed"),
        ({"steps": "many"}, PermanentFailure, "invalid_request"),
        ({"crash": "segfault"}, TransientFailure, "wrapper_died"),
        ({"crash": "kill"}, TransientFailure, "wrapper_died"),
        ({"crash": "exit", "exit_code": 0}, PermanentFailure, "wrapper_fault"),
        ({"crash": "exit", "exit_code": 4}, TransientFailure, "out_of_memory"),
        ({"crash": "exit", "exit_code": 99}, TransientFailure, "wrapper_died"),
        ({"malformed_lines": 1}, PermanentFailure, "wrapper_fault"),
    ],
)
def test_every_way_to_fail_has_its_code(wrapper, request_for, fault, error, code):
    with pytest.raises(error) as raised:
        wrapper.run(request_for(**fault))
    assert type(raised.value) is error
    assert raised.value.code == code
    assert raised.value.message


def test_a_failed_run_leaves_the_model_warm_and_its_last_words_with_the_error(start, program, request_for):
    wrapper = start(program())
    with pytest.raises(PermanentFailure) as raised:
        wrapper.run(request_for(raises=True))
    assert raised.value.details["stderr_tail"].endswith("ValueError: the stand-in was told to raise")
    assert b"Traceback" in wrapper.read_log()
    assert wrapper.run(request_for()).facts["loads"] == 1
    assert wrapper.read_log() == b""


def test_running_out_of_memory_tells_the_bytes(wrapper, request_for):
    with pytest.raises(TransientFailure) as raised:
        wrapper.run(request_for(out_of_memory=1, needed_bytes=1000))
    assert raised.value.details["needed_bytes"] == 1000
    assert raised.value.details["free_bytes"] == 500
    assert "1,000 bytes were needed and 500 were free" in raised.value.message


def test_weights_that_are_missing_show_at_the_load(start, program):
    wrapper = start(program())
    with pytest.raises(ModelNotReady) as raised:
        wrapper.load({"weights_missing": True})
    assert raised.value.code == "weights_missing"
    assert not wrapper.is_alive


@pytest.mark.parametrize("how", ["segfault", "kill"])
def test_a_wrapper_that_dies_while_it_loads_is_gone_for_good(start, program, how, request_for):
    wrapper = start(program())
    with pytest.raises(TransientFailure) as raised:
        wrapper.load({"crash_in_load": how})
    assert raised.value.code == "wrapper_died"
    assert not wrapper.is_alive
    with pytest.raises(TransientFailure):
        wrapper.run(request_for())


# -- ending runs


def test_a_canceled_run_leaves_a_resident_model_warm(start, program, request_for):
    wrapper = start(program())
    wrapper.load()
    with pytest.raises(LeaseLost) as raised:
        wrapper.run(request_for(work_s=60), is_canceled=canceled_after(3))
    assert raised.value.code == "canceled"
    assert wrapper.run(request_for()).facts["loads"] == 1


@pytest.mark.parametrize("hang", ["ignore", "stopped"])
@pytest.mark.parametrize("mode", MODES)
def test_a_wrapper_that_ignores_the_cancellation_is_killed(start, program, request_for, mode, hang):
    wrapper = start(program(patience=IMPATIENT), mode)
    with pytest.raises(LeaseLost):
        wrapper.run(request_for(hang=hang), is_canceled=canceled_after(5))
    assert wrapper.is_alive is (mode == "one_shot")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("child", ["group", "detached"])
def test_children_of_a_canceled_run_end_with_it(start, program, request_for, mode, child):
    wrapper = start(program(patience=IMPATIENT), mode)
    seen = []

    def stop_when_seen() -> bool:
        members = [] if wrapper.pid is None else psutil.Process(wrapper.pid).children(recursive=True)
        seen.extend(member.pid for member in members if member.pid not in seen)
        return len(seen) >= 2

    with pytest.raises(LeaseLost):
        wrapper.run(
            request_for(spawn_child=child, stderr_bytes=0, huge_output_bytes=1 << 36),
            is_canceled=stop_when_seen,
        )
    wrapper.close()
    assert not any(is_running(pid) for pid in seen)


def test_an_interrupted_run_calls_the_wrapper_off(start, program, request_for):
    """As Dagster interrupts a step: an exception in the middle of the wait."""
    wrapper = start(program())
    wrapper.load()

    def interrupt(_progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wrapper.run(request_for(work_s=60, steps=100), interrupt)
    assert wrapper.run(request_for()).facts["loads"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_takes_too_long_is_ended(start, program, request_for, mode):
    wrapper = start(program(patience={"run_s": 0.1}), mode)
    with pytest.raises(PermanentFailure) as raised:
        wrapper.run(request_for(work_s=60))
    assert raised.value.code == "timeout"
    if mode == "resident":
        assert not wrapper.is_alive


def test_a_wrapper_that_stands_still_is_found_out(start, program, request_for):
    wrapper = start(program(patience={"silent_s": 0.5}))
    with pytest.raises(TransientFailure) as raised:
        wrapper.run(request_for(hang="stopped"))
    assert raised.value.code == "script_hung"
    assert not wrapper.is_alive


def test_a_slow_run_that_answers_is_not_taken_for_hung(start, program, request_for):
    wrapper = start(program(patience={"silent_s": 0.3}))
    assert wrapper.run(request_for(work_s=1.2, steps=1)).outputs


@pytest.mark.parametrize("mode", MODES)
def test_a_run_without_steps_is_ended_where_steps_are_expected(start, program, request_for, mode):
    wrapper = start(program(patience={"stalled_s": 0.8}), mode)
    with pytest.raises(TransientFailure) as raised:
        wrapper.run(request_for(hang="ignore"))
    assert raised.value.code == "script_hung"


def test_a_wrapper_that_is_killed_from_outside_fails_its_run_at_once(start, program, request_for):
    wrapper = start(program())
    timer = threading.Timer(
        0.3, lambda: os.kill(psutil.Process(wrapper.pid).children()[0].pid, signal.SIGKILL)
    )
    timer.start()
    with pytest.raises(TransientFailure) as raised:
        wrapper.run(request_for(work_s=60))
    assert raised.value.code == "wrapper_died"
    assert "SIGKILL" in raised.value.message
    assert not wrapper.is_alive


def test_closing_ends_the_process_and_twice_is_harmless(start, program):
    wrapper = start(program())
    pids = [wrapper.pid, *(child.pid for child in psutil.Process(wrapper.pid).children(recursive=True))]
    wrapper.close()
    wrapper.close()
    wait_until(lambda: not any(is_running(pid) for pid in pids), what="nothing is left")


def test_nothing_stays_open_whatever_became_of_a_wrapper(script, program, request_for, tmp_path):
    def live(number: int) -> None:
        log = tmp_path / f"{number}.log"
        with pytest.raises(PermanentFailure):
            start_wrapper(script("print('hello')"), log)
        wrapper = start_wrapper(program(), log)
        with pytest.raises(TransientFailure):
            wrapper.run(request_for(crash="kill"))
        wrapper.close()
        wrapper = start_wrapper(program(), log, mode="one_shot")
        wrapper.run(request_for())
        wrapper.close()

    live(0)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(3):
        live(number + 1)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


# -- limits


@pytest.mark.parametrize("mode", MODES)
def test_an_endless_log_is_ended_and_its_file_stays_small(start, program, request_for, mode):
    limits = OutputLimits(log_bytes=2_000_000)
    wrapper = start(program(output_limits=limits, log_limit=100_000), mode)
    with pytest.raises(PermanentFailure) as raised:
        wrapper.run(request_for(endless_stderr=True))
    assert raised.value.code == "log_too_large"
    assert wrapper.log.path.stat().st_size <= 100_000
    log = wrapper.read_log()
    assert len(log) < 101_000
    assert b"bytes left out" in log


@pytest.mark.parametrize("mode", MODES)
def test_output_without_end_is_ended_while_it_is_written(start, program, request_for, mode):
    wrapper = start(program(output_limits=OutputLimits(total_bytes=1_000_000)), mode)
    request = request_for(huge_output_bytes=40 << 30)
    with pytest.raises(PermanentFailure) as raised:
        wrapper.run(request)
    assert raised.value.code == "output_too_large"
    assert sum(path.stat().st_size for path in request.output_dir.iterdir()) < 20 << 30
    for path in request.output_dir.iterdir():
        path.unlink()


def test_a_request_that_does_not_fit_a_line_is_refused_and_the_model_stays(start, program, request_for):
    wrapper = start(program())
    with pytest.raises(PermanentFailure) as raised:
        wrapper.run(request_for(note="x" * 2_000_000))
    assert raised.value.code == "invalid_request"
    assert wrapper.run(request_for()).outputs


# -- programs that are no wrappers

READY = "import json, sys, time, os\n"
READY += 'print(json.dumps({"event": "ready", "protocol": 1, "name": "x"}), flush=True)\n'


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        ("", PermanentFailure, "wrapper_fault"),  # ends at once, content with itself
        ("raise SystemExit(3)", ModelNotReady, "model_missing"),
        ("import nothing_of_that_name", PermanentFailure, "wrapper_fault"),
        ("print('hello')", PermanentFailure, "wrapper_fault"),
        ("print('[' * 900_000)", PermanentFailure, "wrapper_fault"),
        ("print('x' * 3_000_000)", PermanentFailure, "wrapper_fault"),
        (READY.replace("1,", "2,") + "time.sleep(60)", PermanentFailure, "wrapper_fault"),
        ("import time; time.sleep(600)", TransientFailure, "script_hung"),
    ],
)
def test_a_program_that_is_no_wrapper_is_refused_at_its_start(start, script, text, error, code):
    with pytest.raises(error) as raised:
        start(script(text, patience={"start_s": 1.0 if "600" in text else 20.0}))
    assert raised.value.code == code


def test_an_interpreter_that_is_missing_means_that_the_model_is(start, program):
    with pytest.raises(ModelNotReady) as raised:
        start(program(command=("/nowhere/venv/bin/python", "run.py")))
    assert raised.value.code == "model_missing"
    assert "cannot start /nowhere/venv/bin/python" in raised.value.message


@pytest.mark.parametrize("mode", MODES)
def test_a_program_that_cannot_be_started_now_is_tried_again_later(
    start, program, request_for, tmp_path, mode
):
    with pytest.raises(TransientFailure) as raised:
        start(program(folder=tmp_path / "missing"), mode).run(request_for())
    assert raised.value.code == "wrapper_died"


ANSWERS = READY + "command = json.loads(sys.stdin.readline())\nfolder = command['request']['output_dir']\n"


def done(outputs: str, more: str = "") -> str:
    return (
        ANSWERS
        + more
        + f"\nprint(json.dumps({{'event': 'done', 'id': command['id'], 'outputs': {outputs}}}), flush=True)\n"
        + "sys.stdin.read()"
    )


def output(path: str, name: str = "mesh.glb") -> str:
    return f"[{{'name': {name!r}, 'path': {path}, 'content_type': 'model/gltf-binary'}}]"


MESH = output("folder + '/m'")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (done("[]"), "empty_output"),
        (done(output("folder + '/mesh.glb'")), "empty_output"),  # never written
        (done(output("folder + '/mesh.glb'"), "open(folder + '/mesh.glb', 'w')"), "empty_output"),
        (done(output("'/etc/passwd'")), "broken_output"),
        (done(output("'etc/passwd'")), "empty_output"),
        (done(output("folder + '/../../etc/passwd'")), "empty_output"),
        (done(output("folder + '/l'"), "os.symlink('/etc/passwd', folder + '/l')"), "broken_output"),
        (done(output("folder + '/l/passwd'"), "os.symlink('/etc', folder + '/l')"), "broken_output"),
        (done(output("folder + '/f'"), "os.mkfifo(folder + '/f')"), "broken_output"),
        (done(output("folder")), "broken_output"),
        (done(output("'a\\0b'")), "empty_output"),
        (done(output("folder + '/m'", "../m"), "open(folder + '/m', 'w').write('x')"), "broken_output"),
        (done(f"{MESH} * 2", "open(folder + '/m', 'w').write('x')"), "broken_output"),
        (done("'mesh.glb'"), "wrapper_fault"),
        (done("[1]"), "wrapper_fault"),
    ],
)
def test_no_output_is_believed_unseen(start, script, request_for, text, code):
    wrapper = start(script(text))
    with pytest.raises(PermanentFailure) as raised:
        wrapper.run(request_for())
    assert raised.value.code == code


def test_answers_to_others_are_passed_over(start, script, request_for):
    noise = (
        "open(folder + '/m', 'w').write('x')\n"
        "for event in ({'event': 'done', 'id': 'old:1', 'outputs': []},"
        " {'event': 'failed', 'id': None, 'code': 'x'},"
        " {'event': 'of a later protocol', 'id': command['id']}):\n"
        "    print(json.dumps(event), flush=True)"
    )
    wrapper = start(script(done(output("folder + '/m'"), noise)))
    assert wrapper.run(request_for()).outputs[0].size == 1


def test_a_flood_of_progress_is_thinned_out(start, script, request_for):
    flood = (
        "open(folder + '/m', 'w').write('x')\n"
        "for n in range(20_000):\n"
        "    print(json.dumps({'event': 'progress', 'id': command['id'], 'fraction': n / 20_000}))"
    )
    wrapper = start(script(done(output("folder + '/m'"), flood)))
    seen = []
    wrapper.run(request_for(), seen.append)
    assert 1 <= len(seen) < 100


def test_a_result_before_a_bad_end_counts_and_says_so(start, script, request_for):
    text = (
        "import json, sys, os\nrequest = json.load(open(sys.argv[2]))\nfolder = request['output_dir']\n"
        "open(folder + '/m', 'w').write('x')\n"
        f"event = {{'event': 'done', 'id': request['id'], 'outputs': {MESH}}}\n"
        "print(json.dumps(event), flush=True)\nos.kill(os.getpid(), 11)"
    )
    done = start(script(text), "one_shot").run(request_for())
    assert done.notes == ("The model's program ended with exit code 139 after its result.",)


def test_the_request_is_what_the_wrapper_reads(tmp_path):
    request = WrapperRequest(id="a:1", output_dir=tmp_path, images=(tmp_path / "p.png",), prompt="a duck")
    assert request.as_json() == {
        "id": "a:1",
        "task": "generate",
        "inputs": {"images": [str(tmp_path / "p.png")], "resume_dir": None},
        "prompt": "a duck",
        "params": {},
        "seed": None,
        "output_dir": str(tmp_path),
        "limits": {"timeout_s": None},
    }
    assert request.reduced(1) is request
    assert request.reduced(2).params == {"memory_divisor": 2}
