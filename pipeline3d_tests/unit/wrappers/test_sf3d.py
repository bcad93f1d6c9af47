"""Stable Fast 3D's wrapper: upstream's arguments, its traps, and its resident form."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline3d.geometry.glb import decode_glb
from pipeline3d_tests.pictures import draw, encode
from pipeline3d_tests.unit.wrappers.driving import (
    STAND_INS,
    WRAPPERS,
    Resident,
    command,
    environment,
    is_alive,
    read_record,
    request,
    run_once,
    wait_until,
)
from pipeline3d_tests.unit.wrappers.upstream_programs import BROKEN_FILES, FAULTS, stand_in

DEFAULT_ARGUMENTS = [
    # as stable-fast-3d's run.py spells them: dashes, and underscores in the last three
    ("--device", "cuda"),
    ("--pretrained-model", "stabilityai/stable-fast-3d"),
    ("--foreground-ratio", "0.85"),
    ("--texture-resolution", "1024"),
    ("--remesh_option", "triangle"),
    ("--target_vertex_count", "-1"),
    ("--batch_size", "1"),
]
MAPPED_PARAMETERS = [
    ({"texture_resolution": 2048}, ("--texture-resolution", "2048")),
    ({"remesh_option": "quad"}, ("--remesh_option", "quad")),
    ({"foreground_ratio": 0.7}, ("--foreground-ratio", "0.7")),
    ({"target_vertex_count": 5000}, ("--target_vertex_count", "5000")),
    ({"device": "cpu"}, ("--device", "cpu")),
]


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo with blanks; $(and) more.png"
    path.write_bytes(encode(draw("apple", "plain", size=64).rgb, "PNG"))
    return path


def pairs(arguments: list[str]) -> dict[str, str]:
    start = next(n for n, argument in enumerate(arguments) if argument.startswith("--"))
    return dict(zip(arguments[start::2], arguments[start + 1 :: 2], strict=True))


def test_the_upstream_program_gets_exactly_its_arguments(photo, tmp_path):
    record = tmp_path / "record"
    wanted = request(tmp_path / "out", images=[photo, photo])
    ended = run_once("sf3d", wanted, tmp_path, **stand_in("sf3d", record=record))
    assert ended.code == 0, ended.stderr
    told = read_record(record)
    assert told["argv"][:2] == [str(photo), str(photo)]
    given = pairs(told["argv"])
    assert given.pop("--output-dir").startswith(str(tmp_path / "out"))
    assert list(given.items()) == DEFAULT_ARGUMENTS
    assert told["cwd"] == str(STAND_INS / "sf3d")


@pytest.mark.parametrize(("params", "argument"), MAPPED_PARAMETERS)
def test_each_parameter_becomes_its_argument(params, argument, photo, tmp_path):
    record = tmp_path / "record"
    wanted = request(tmp_path / "out", images=[photo], params=params)
    assert run_once("sf3d", wanted, tmp_path, **stand_in("sf3d", record=record)).code == 0
    assert pairs(read_record(record)["argv"])[argument[0]] == argument[1]


def test_the_results_are_moved_out_and_the_scratch_folder_is_gone(photo, tmp_path):
    ended = run_once("sf3d", request(tmp_path / "out", images=[photo, photo]), tmp_path, **stand_in("sf3d"))
    names = [output["name"] for output in ended.last["outputs"]]
    assert names == ["mesh.glb", "input.png", "mesh_1.glb", "input_1.png"]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(names)
    assert len(decode_glb((tmp_path / "out" / "mesh.glb").read_bytes()).faces) == 12
    assert ended.last["facts"]["faces"] == 12
    assert ended.last["peak_memory_bytes"] == int(6081.5 * (1 << 20))


def test_the_program_sees_named_variables_only_and_works_offline(photo, tmp_path):
    record = tmp_path / "record"
    secrets = {"HF_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "secret", "JOBS_PASSWORD": "secret"}
    variables = stand_in("sf3d", record=record, CUDA_VISIBLE_DEVICES="1", HF_HOME="/models", **secrets)
    run_once("sf3d", request(tmp_path / "out", images=[photo]), tmp_path, **variables)
    seen = read_record(record)["environ"]
    assert "secret" not in seen.values()
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["HF_HOME"]) == ("1", "/models")
    assert (seen["HF_HUB_OFFLINE"], seen["TRANSFORMERS_OFFLINE"]) == ("1", "1")


def test_a_network_is_used_only_where_the_caller_says_so(photo, tmp_path):
    record = tmp_path / "record"
    variables = stand_in("sf3d", record=record, HF_HUB_OFFLINE="0")
    run_once("sf3d", request(tmp_path / "out", images=[photo]), tmp_path, **variables)
    assert read_record(record)["environ"]["HF_HUB_OFFLINE"] == "0"


@pytest.mark.parametrize(("fault", "code", "exit_code", "retryable"), FAULTS)
def test_each_fault_of_the_program_has_its_code(fault, code, exit_code, retryable, photo, tmp_path):
    variables = stand_in("sf3d", fault, UPSTREAM_STALL_S="0.5" if fault == "hang" else "60")
    ended = run_once("sf3d", request(tmp_path / "out", images=[photo]), tmp_path, **variables)
    assert (ended.last["code"], ended.code) == (code, exit_code)
    assert ended.last["retryable"] is retryable
    assert ended.last["hint"]
    assert os.listdir(tmp_path / "out") == []


def test_out_of_memory_tells_needed_and_free_bytes(photo, tmp_path):
    wanted = request(tmp_path / "out", images=[photo])
    last = run_once("sf3d", wanted, tmp_path, **stand_in("sf3d", "out_of_memory")).last
    assert (last["needed_bytes"], last["free_bytes"]) == (2 << 30, int(1.10 * (1 << 30)))


@pytest.mark.parametrize(("fault", "code"), BROKEN_FILES)
def test_an_exit_code_of_zero_is_not_believed(fault, code, photo, tmp_path):
    """Upstream writes an empty GLB of 172 bytes for an empty surface and ends with 0."""
    wanted = request(tmp_path / "out", images=[photo])
    ended = run_once("sf3d", wanted, tmp_path, **stand_in("sf3d", fault))
    assert (ended.last["code"], ended.code) == (code, 5)
    assert os.listdir(tmp_path / "out") == []


def test_a_flood_of_output_is_cut_and_the_result_still_comes(photo, tmp_path):
    wanted = request(tmp_path / "out", images=[photo])
    ended = run_once("sf3d", wanted, tmp_path, **stand_in("sf3d", "much_output"))
    assert ended.last["event"] == "done"
    assert len(ended.stderr) < 9 << 20
    assert "line 399999" in ended.stderr


@pytest.mark.parametrize("fault", ["endless_output", "endless_lines"])
def test_endless_output_ends_with_the_timeout(fault, photo, tmp_path):
    wanted = request(tmp_path / "out", images=[photo], timeout_s=1.0)
    ended = run_once("sf3d", wanted, tmp_path, **stand_in("sf3d", fault))
    assert (ended.last["code"], ended.code) == ("timeout", 8)
    assert len(ended.stderr) < 9 << 20


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"SF3D_SCRIPT_PATH": ""}, "SF3D_SCRIPT_PATH is not set"),
        ({"SF3D_SCRIPT_PATH": "/nowhere/run.py"}, "no such file"),
        ({"SF3D_PYTHON_PATH": "/nowhere/python"}, "no such file"),
    ],
)
def test_a_missing_program_is_said_before_anything_is_started(variables, told, photo, tmp_path):
    wanted = request(tmp_path / "out", images=[photo])
    ended = run_once("sf3d", wanted, tmp_path, **(stand_in("sf3d") | variables))
    assert (ended.last["code"], ended.code) == ("model_missing", 3)
    assert told in ended.last["message"]
    (described,) = command("sf3d", ["--describe"], **(stand_in("sf3d") | variables)).events
    assert described["ready"] is False
    assert told in described["reason"]


def test_weights_that_are_not_there_are_told_in_the_description(tmp_path):
    variables = stand_in("sf3d", SF3D_MODEL_PATH=str(tmp_path))
    (described,) = command("sf3d", ["--describe"], **variables).events
    assert described["needs"] == [
        "SF3D_MODEL_PATH has no config.yaml.",
        "SF3D_MODEL_PATH has no model.safetensors.",
    ]
    assert "Stability AI Community License" in described["licence"]


@pytest.mark.parametrize(
    "params",
    [
        {"texture_resolution": 10**9},
        {"remesh_option": "cubes"},
        {"foreground_ratio": 0},
        {"device": "cuda:0"},  # upstream's "Invalid device"
        {"batch_size": 2},
        {"texture_resolution": "1024"},
    ],
)
def test_wrong_parameters_never_reach_the_program(params, photo, tmp_path):
    record = tmp_path / "record"
    wanted = request(tmp_path / "out", images=[photo], params=params)
    ended = run_once("sf3d", wanted, tmp_path, **stand_in("sf3d", record=record))
    assert (ended.last["code"], ended.code) == ("invalid_request", 2)
    assert not record.exists()


def test_what_has_no_effect_is_told(photo, tmp_path):
    params = {"remesh_option": "none", "target_vertex_count": 100, "sparkle": True}
    wanted = request(tmp_path / "out", images=[photo], params=params, seed=1)
    notes = " ".join(run_once("sf3d", wanted, tmp_path, **stand_in("sf3d")).last["notes"])
    for word in ("target_vertex_count", "seed", "sparkle"):
        assert word in notes


@pytest.mark.parametrize("fault", ["hang", "hang_detached"])
@pytest.mark.parametrize("end", ["cancel", "killed"])
def test_nothing_of_the_program_outlives_a_cancel_or_the_wrapper(fault, end, photo, tmp_path):
    """Also a child that ignores SIGTERM, and one that made a session of its own."""
    record, file = tmp_path / "record", tmp_path / "request.json"
    file.write_text(json.dumps(request(tmp_path / "out", images=[photo])))
    variables = stand_in("sf3d", fault, record)
    with Resident("sf3d", arguments=("--request", str(file)), **variables) as wrapper:
        told = read_record(record)
        started = [told["pid"], told["child"]]
        assert all(map(is_alive, started))
        if end == "cancel":
            wrapper.process.send_signal(signal.SIGTERM)
            assert wrapper.wait_for("canceled", "failed")["event"] == "canceled"
            assert wrapper.exit_code() == 6
            assert not any(map(is_alive, started))
        else:
            wrapper.process.kill()
            wait_until(lambda: not any(map(is_alive, started)), "the program is gone")


def test_a_wrapper_whose_caller_died_ends_its_silent_program(photo, tmp_path):
    record, file = tmp_path / "record", tmp_path / "request.json"
    file.write_text(json.dumps(request(tmp_path / "out", images=[photo])))
    program = [sys.executable, str(WRAPPERS / "sf3d" / "run.py"), "--request", str(file)]
    variables = environment(**stand_in("sf3d", "hang", record))
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=variables) as process:
        told = read_record(record)
        process.stdout.close()
        assert process.wait(60) == 6
    assert not any(map(is_alive, [told["pid"], told["child"]]))


def test_a_child_that_the_program_leaves_behind_is_ended_with_it(photo, tmp_path):
    record = tmp_path / "record"
    wanted = request(tmp_path / "out", images=[photo])
    ended = run_once("sf3d", wanted, tmp_path, **stand_in("sf3d", "leave_child", record))
    assert ended.last["event"] == "done"
    assert not is_alive(read_record(record)["child"])


def test_the_predecessors_command_line_keeps_working(photo, tmp_path):
    record, target = tmp_path / "record", tmp_path / "deep" / "model.glb"
    arguments = ["--input_path", str(photo), "--output_path", str(target), "--texture_resolution", "512"]
    ended = command("sf3d", arguments, **stand_in("sf3d", record=record))
    assert ended.code == 0, ended.stderr
    assert len(decode_glb(target.read_bytes()).faces) == 12
    given = pairs(read_record(record)["argv"])
    assert (given["--texture-resolution"], given["--remesh_option"]) == ("512", "triangle")
    assert os.listdir(target.parent) == ["model.glb"]


@pytest.mark.parametrize("fault", ["crash", "empty_glb", "no_file"])
def test_the_predecessors_command_line_ends_with_one_and_leaves_no_file(fault, photo, tmp_path):
    target = tmp_path / "model.glb"
    arguments = ["--input_path", str(photo), "--output_path", str(target)]
    ended = command("sf3d", arguments, **stand_in("sf3d", fault))
    assert ended.code == 1
    assert not target.exists()
    assert ended.stderr.splitlines()[-1].startswith("failed: ")


def test_the_resident_form_loads_the_package_once_and_uses_it(photo, tmp_path):
    with Resident("sf3d", **package_variables()) as model:
        ends = [model.run(request(tmp_path / str(n), id=f"job:{n}", images=[photo])) for n in range(3)]
        assert [end["event"] for end in ends] == ["done"] * 3, ends
        assert [end["facts"]["loads"] for end in ends] == [1] * 3
        assert ends[0]["facts"]["faces"] == 12
        called = json.loads((tmp_path / "0" / "input.png").read_bytes())
    assert called["foreground_ratio"] == 0.85


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("gated", "licence_not_accepted"),
        ("weights_missing", "weights_missing"),
        ("out_of_memory", "out_of_memory"),
        ("no_object", "invalid_request"),
        ("empty_mesh", "empty_output"),
        ("not_installed", "model_missing"),
        ("exits", "script_failed"),
    ],
)
def test_a_fault_in_the_package_has_its_code_and_the_process_stays(fault, code, photo, tmp_path):
    with Resident("sf3d", **package_variables(fault)) as model:
        assert model.run(request(tmp_path / "out", images=[photo]))["code"] == code
        model.send(op="health", id="h")
        assert model.wait_for("health")["id"] == "h"


def package_variables(fault: str = "") -> dict[str, str]:
    """A checkout with stand-ins of the packages sf3d, rembg, torch and PIL beside its run.py."""
    checkout = STAND_INS / "sf3d"
    return {
        "SF3D_SCRIPT_PATH": str(checkout / "run.py"),
        "PYTHONPATH": str(checkout / "packages"),
        "SF3D_PYTHON_PATH": sys.executable,
        "LC_STAND_IN": fault,
    }
