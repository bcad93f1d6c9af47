"""The wrapper protocol, spoken with real processes of the stand-in model."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.glb import decode_glb
from pipeline3d_tests.unit.wrappers.driving import (
    WRAPPERS,
    Resident,
    command,
    environment,
    is_alive,
    request,
    run_once,
    wait_until,
)

OLD_PYTHON = next((Path.home() / ".pyenv/versions").glob("3.8.*/bin/python"), None)


def mesh_of(event: dict):
    return decode_glb(Path(event["outputs"][0]["path"]).read_bytes())


def test_a_wrapper_describes_itself_in_one_line_without_loading_anything():
    ended = command("fake_model", ["--describe"])
    assert ended.code == 0
    (told,) = ended.events
    assert (told["protocol"], told["name"], told["modes"]) == (1, "fake", ["one_shot", "resident"])
    assert told["ready"] is True
    assert "stand-in" in told["description"]


def test_a_request_in_a_file_is_carried_out_once(tmp_path):
    ended = run_once("fake_model", request(tmp_path / "out", seed=7, params={"steps": 3}), tmp_path)
    assert ended.code == 0
    assert [event["event"] for event in ended.events] == ["loaded", "progress", "progress", "done"]
    assert ended.events[2]["fraction"] == 1.0
    assert ended.last["seed"] == 7
    assert ended.last["facts"]["loads"] == 1
    assert len(mesh_of(ended.last).faces) == 720


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_colour(tmp_path):
    made = [
        run_once("fake_model", request(tmp_path / str(n), seed=s), tmp_path).last
        for n, s in enumerate((3, 3, 4))
    ]
    first, again, other = [Path(event["outputs"][0]["path"]).read_bytes() for event in made]
    assert first == again
    assert first != other


def test_a_resident_model_is_loaded_once_for_many_requests(tmp_path):
    with Resident("fake_model") as model:
        ready = model.wait_for("ready")
        assert ready["pid"] == model.process.pid
        model.send(op="load", id="l1", params={"load_s": 0.05, "load_memory_bytes": 1 << 20})
        loaded = model.wait_for("loaded")
        assert loaded["load_s"] >= 0.05
        assert loaded["memory_bytes"] == 1 << 20
        ends = [model.run(request(tmp_path / str(n), id=f"job:{n}", seed=n)) for n in range(5)]
        assert [end["facts"]["loads"] for end in ends] == [1] * 5
        model.send(op="health", id="h")
        health = model.wait_for("health")
        assert (health["state"], health["runs"], health["loaded"]) == ("idle", 5, True)
        assert health["rss_bytes"] > 1 << 20
        model.send(op="unload", id="u")
        model.wait_for("unloaded")
        model.send(op="health", id="h")
        assert model.wait_for("health")["state"] == "empty"
        model.send(op="shutdown")
        assert model.exit_code() == 0


def test_cancel_and_health_are_answered_while_a_run_is_at_work(tmp_path):
    with Resident("fake_model") as model:
        model.send(op="run", id="slow", request=request(tmp_path, id="slow", params={"work_s": 60}))
        model.wait_for("progress", "loaded")
        model.send(op="health", id="h")
        assert model.wait_for("health")["state"] == "busy"
        model.send(op="cancel", id="slow")
        assert model.wait_for("canceled")["id"] == "slow"
        assert model.run(request(tmp_path, id="next"))["event"] == "done"


def test_a_run_that_waits_its_turn_can_be_canceled(tmp_path):
    with Resident("fake_model") as model:
        for id in ("first", "second"):
            model.send(op="run", id=id, request=request(tmp_path, id=id, params={"work_s": 60}))
        model.send(op="cancel", id="second")
        model.send(op="cancel", id="first")
        assert {model.wait_for("canceled")["id"], model.wait_for("canceled")["id"]} == {"first", "second"}


def test_the_end_of_the_commands_ends_the_process_and_its_run(tmp_path):
    with Resident("fake_model") as model:
        model.send(op="run", id="slow", request=request(tmp_path, id="slow", params={"work_s": 60}))
        model.wait_for("loaded")
        model.process.stdin.close()
        assert model.wait_for("canceled")["id"] == "slow"
        assert model.exit_code() == 0


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b"[1, 2]",
        b'"run"',
        b"{}",  # no operation
        b'{"op": "dance", "id": "x"}',
        b'{"op": 7}',
        b'{"op": "run"}',  # no request
        b'{"op": "run", "request": {"id": "a"}}',  # no output directory
        b'{"op": "load", "params": NaN}',  # a word of Python's, not of JSON
        b"\xff\xfe\x00",  # not UTF-8
        b"[" * 5000,  # too deep to parse
        b'{"op": "' + b"x" * (2 << 20) + b'"}',  # over the limit of a line
        b'{"op": "run", "id": "a", "request": {"id": "b", "output_dir": "/tmp"}}',  # two names for one run
    ],
    ids=range(13),
)
def test_a_malformed_line_is_answered_and_the_next_one_served(line, tmp_path):
    with Resident("fake_model") as model:
        model.send_raw(line + b"\n")
        assert model.wait_for("failed")["code"] == "invalid_request"
        assert model.run(request(tmp_path))["event"] == "done"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": ""}, "id"),
        ({"id": 5}, "id"),
        ({"task": "steal"}, "task"),
        ({"output_dir": "relative"}, "output_dir"),
        ({"output_dir": "/nowhere/at/all"}, "output_dir"),
        ({"inputs": {"images": ["/nowhere.png"]}}, "images"),
        ({"inputs": {"images": "photo.png"}}, "images"),
        ({"inputs": {"resume_dir": "/nowhere"}}, "resume_dir"),
        ({"inputs": []}, "inputs"),
        ({"prompt": ["a", "mug"]}, "prompt"),
        ({"params": "fast"}, "params"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"limits": {"timeout_s": 0}}, "timeout_s"),
        ({"limits": {"timeout_s": "long"}}, "timeout_s"),
        ({"params": {"work_s": "long"}}, "work_s"),
        ({"params": {"crash": "softly"}}, "crash"),
        ({"params": {"steps": True}}, "steps"),
    ],
)
def test_a_wrong_request_is_refused_with_the_field_that_is_wrong(changes, told, tmp_path):
    ended = run_once("fake_model", request(tmp_path / "out") | changes, tmp_path)
    assert ended.code == 2
    assert ended.last["code"] == "invalid_request"
    assert told in ended.last["message"]
    assert ended.last["retryable"] is False


EXIT_CODES = {
    "invalid_request": 2,
    "prompt_rejected": 2,
    "model_missing": 3,
    "weights_missing": 3,
    "weights_invalid": 3,
    "licence_not_accepted": 3,
    "out_of_memory": 4,
    "empty_output": 5,
    "broken_output": 5,
    "script_failed": 5,
    "gpu_lost": 7,
    "script_hung": 8,
    "timeout": 8,
    "wrapper_fault": 70,
}


@pytest.mark.parametrize(("code", "exit_code"), EXIT_CODES.items())
def test_each_failure_has_its_code_and_exit_code(code, exit_code, tmp_path):
    ended = run_once("fake_model", request(tmp_path / "out", params={"fails": code}), tmp_path)
    assert (ended.last["code"], ended.code) == (code, exit_code)
    assert ended.last["hint"]
    assert ended.last["retryable"] is (code in ("out_of_memory", "gpu_lost", "script_hung"))


def test_a_raised_exception_is_a_failure_of_the_model_with_its_traceback_on_stderr(tmp_path):
    ended = run_once("fake_model", request(tmp_path / "out", params={"raises": True}), tmp_path)
    assert (ended.last["code"], ended.code) == ("script_failed", 5)
    assert "told to raise" in ended.last["message"]
    assert "Traceback" in ended.stderr


def test_out_of_memory_tells_the_bytes_and_the_model_stays_usable(tmp_path):
    with Resident("fake_model") as model:
        params = {"out_of_memory": 2, "needed_bytes": 4096}
        ends = [model.run(request(tmp_path, id=f"job:{n}", params=params)) for n in range(3)]
    assert [end["event"] for end in ends] == ["failed", "failed", "done"]
    assert (ends[0]["code"], ends[0]["needed_bytes"], ends[0]["free_bytes"]) == ("out_of_memory", 4096, 2048)
    assert ends[2]["facts"]["loads"] == 1


def test_a_lost_gpu_ends_the_resident_process_with_its_own_exit_code(tmp_path):
    with Resident("fake_model") as model:
        assert model.run(request(tmp_path, params={"gpu_lost": True}))["code"] == "gpu_lost"
        assert model.exit_code() == 7


def test_missing_weights_fail_the_load_and_the_process_stays(tmp_path):
    with Resident("fake_model") as model:
        model.send(op="load", id="l", params={"weights_missing": True})
        assert model.wait_for("failed", id="l")["code"] == "weights_missing"
        assert model.run(request(tmp_path))["event"] == "done"


def test_a_run_that_takes_too_long_fails_with_a_timeout(tmp_path):
    wanted = request(tmp_path / "out", params={"work_s": 60}, timeout_s=0.2)
    ended = run_once("fake_model", wanted, tmp_path)
    assert (ended.last["code"], ended.code) == ("timeout", 8)


@pytest.mark.parametrize("crash", ["segfault", "kill", "exit"])
def test_a_crash_in_the_middle_leaves_no_last_event(crash, tmp_path):
    """What the caller sees is the end of the stream and the signal or code."""
    wanted = request(tmp_path / "out", params={"crash": crash, "exit_code": 9})
    ended = run_once("fake_model", wanted, tmp_path)
    assert ended.code == {"segfault": -signal.SIGSEGV, "kill": -signal.SIGKILL, "exit": 9}[crash]
    assert not [event for event in ended.events if event["event"] in ("done", "failed", "canceled")]


@pytest.mark.parametrize("hang", ["ignore", "stopped"])
def test_a_model_that_hangs_ignores_cancel_and_sigterm_and_can_only_be_killed(hang, tmp_path):
    with Resident("fake_model") as model:
        model.send(op="run", id="a", request=request(tmp_path, id="a", params={"hang": hang, "steps": 1}))
        model.wait_for("progress")
        model.send(op="cancel", id="a")
        model.process.send_signal(signal.SIGTERM)
        assert model.process.poll() is None
        os.killpg(model.process.pid, signal.SIGKILL)
        assert model.exit_code() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("kind", "survives"),
    [("group", False), ("detached", True)],  # the second is what a caller needs more than the group for
)
def test_a_child_that_the_stand_in_leaves_behind_outlives_it(kind, survives, tmp_path):
    with Resident("fake_model") as model:
        end = model.run(request(tmp_path, params={"spawn_child": kind}))
        child = end["facts"]["child_pid"]
        os.killpg(model.process.pid, signal.SIGKILL)
        model.exit_code()
        try:
            if survives:
                assert is_alive(child)
            else:
                wait_until(lambda: not is_alive(child), "the group is gone")
        finally:
            if is_alive(child):
                os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("fault", ["empty_glb", "nan_mesh", "truncated_glb"])
def test_the_stand_in_hands_over_broken_files_as_if_they_were_good(fault, tmp_path):
    ended = run_once("fake_model", request(tmp_path / "out", params={fault: True}), tmp_path)
    assert ended.last["event"] == "done"
    if fault == "nan_mesh":
        vertices = mesh_of(ended.last).vertices
        assert (vertices != vertices).any()
    else:
        with pytest.raises(BrokenModelOutput):
            mesh_of(ended.last)


def test_the_stand_in_can_write_lines_that_are_no_protocol(tmp_path):
    with Resident("fake_model") as model:
        wanted = request(tmp_path, params={"malformed_lines": 3})
        model.send(op="run", id=wanted["id"], request=wanted)
        lines = []
        while not lines or b'"done", "id"' not in lines[-1]:
            lines.append(model.line())
        assert sum(b"not JSON" in line for line in lines) == 3


def test_output_and_errors_can_be_as_large_as_a_test_wants(tmp_path):
    params = {"huge_output_bytes": 3_000_000, "stderr_bytes": 100_000}
    ended = run_once("fake_model", request(tmp_path / "out", params=params), tmp_path)
    assert Path(ended.last["outputs"][0]["path"]).stat().st_size > 3_000_000
    assert len(ended.stderr) >= 100_000


def test_unknown_parameters_are_told_in_the_notes(tmp_path):
    ended = run_once("fake_model", request(tmp_path / "out", params={"sparkle": 1}), tmp_path)
    assert any("sparkle" in note for note in ended.last["notes"])
    assert any(event["event"] == "log" and event["level"] == "warning" for event in ended.events)


def test_a_caller_that_stops_listening_ends_the_wrapper(tmp_path):
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request(tmp_path / "out", params={"work_s": 600, "steps": 6000})))
    program = [sys.executable, str(WRAPPERS / "fake_model" / "run.py"), "--request", str(file)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=environment()) as process:
        assert b"loaded" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 6


@pytest.mark.skipif(OLD_PYTHON is None, reason="no Python 3.8 here")
def test_the_common_part_runs_on_the_oldest_python_of_a_model(tmp_path):
    ended = run_once("fake_model", request(tmp_path / "out"), tmp_path, python=str(OLD_PYTHON))
    assert ended.code == 0, ended.stderr


def modules() -> list[Path]:
    return sorted(WRAPPERS.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(WRAPPERS)))
def test_a_wrapper_imports_nothing_of_ours_and_only_the_standard_library_at_its_top(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    ours = {file.stem for file in (*WRAPPERS.glob("*.py"), *path.parent.glob("*.py"))}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in (name.split(".")[0] for name in names):
            assert name not in ("pipeline3d", "resources", "dagster", "pipeline3d_tests")
            if id(node) not in inside:
                assert name in sys.stdlib_module_names or name in ours, name
