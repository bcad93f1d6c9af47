"""DreamFusion's wrapper: threestudio's arguments, an interrupted training, the export, and the GLB."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline3d.geometry.glb import decode_glb, read_document
from pipeline3d_tests.unit.wrappers.driving import (
    STAND_INS,
    Resident,
    command,
    is_alive,
    read_record,
    request,
    run_once,
    wait_until,
)
from pipeline3d_tests.unit.wrappers.upstream_programs import FAULTS, stand_in

STEPS = 1000
PROMPT = "a red mug: with #1 on it"


def wanted(where: Path, **fields) -> dict:
    params = {"max_steps": STEPS} | fields.pop("params", {})
    return request(where, **({"prompt": PROMPT, "seed": 3} | fields), params=params)


def trial_of(where: Path) -> Path:
    return where / "threestudio" / "trial"


def test_training_gets_exactly_threestudios_arguments(tmp_path):
    record, out = tmp_path / "record", tmp_path / "out"
    ended = run_once("dreamfusion", wanted(out), tmp_path, **stand_in("dreamfusion", record=record))
    assert ended.code == 0, ended.stderr
    launched = read_record(record)
    assert launched["cwd"] == str(STAND_INS / "threestudio")
    assert launched["argv"] == [
        *("--config", str(STAND_INS / "threestudio" / "configs" / "dreamfusion-sd.yaml")),
        *("--train", "--gpu", "0"),
        'system.prompt_processor.prompt="a red mug: with #1 on it"',
        "trainer.max_steps=1000",
        "seed=3",
        "system.guidance.guidance_scale=100.0",
        "data.batch_size=1",
        "system.background.random_aug=true",
        "data.n_test_views=8",
        f'exp_root_dir="{out}"',
        "name=threestudio",
        "tag=trial",
        "use_timestamp=false",
    ]


def test_the_export_gets_exactly_threestudios_arguments(tmp_path):
    record, out = tmp_path / "record", tmp_path / "out"
    params = {"isosurface_threshold": 10, "isosurface_resolution": 256, "texture_resolution": 512}
    variables = stand_in("dreamfusion", record=record, DREAMFUSION_SD_MODEL_PATH="/models/sd 2.1")
    assert run_once("dreamfusion", wanted(out, params=params), tmp_path, **variables).code == 0
    trial = trial_of(out)
    assert yaml.safe_load(Path(f"{record}.export").read_text()) == [
        *("--config", str(trial / "configs" / "parsed.yaml")),
        *("--export", "--gpu", "0"),
        f'resume="{trial / "ckpts" / "last.ckpt"}"',
        "system.exporter_type=mesh-exporter",
        "system.exporter.context_type=cuda",
        "system.exporter.fmt=obj-mtl",
        "system.exporter.texture_size=512",
        "system.geometry.isosurface_threshold=10.0",
        "system.geometry.isosurface_method=mc-cpu",
        "system.geometry.isosurface_resolution=256",
        f'exp_root_dir="{out}"',
        *("name=threestudio", "tag=trial", "use_timestamp=false"),
        'system.prompt_processor.pretrained_model_name_or_path="/models/sd 2.1"',
        'system.guidance.pretrained_model_name_or_path="/models/sd 2.1"',
    ]


@pytest.mark.parametrize(
    ("params", "argument"),
    [
        ({"max_steps": 2000}, "trainer.max_steps=2000"),
        ({"guidance_scale": 7.5}, "system.guidance.guidance_scale=7.5"),
        ({"guidance_scale": 50}, "system.guidance.guidance_scale=50.0"),
        ({"random_bg": False}, "system.background.random_aug=false"),
        ({"batch_size": 4}, "data.batch_size=4"),
        ({"batch_size": 4, "memory_divisor": 2}, "data.batch_size=2"),
    ],
)
def test_each_parameter_becomes_its_setting(params, argument, tmp_path):
    record = tmp_path / "record"
    run_once(
        "dreamfusion",
        wanted(tmp_path / "out", params=params),
        tmp_path,
        **stand_in("dreamfusion", record=record),
    )
    assert argument in read_record(record)["argv"]


@pytest.mark.parametrize(
    ("visible", "gpu"), [("3", "3"), ("2,3", "2"), ("GPU-5d2c,GPU-77", "GPU-5d2c"), ("", "0")]
)
def test_one_device_is_used_and_it_is_the_first_visible_one(visible, gpu, tmp_path):
    """Upstream trains on every device it sees, whatever --gpu says."""
    record = tmp_path / "record"
    variables = stand_in("dreamfusion", record=record, CUDA_VISIBLE_DEVICES=visible)
    run_once("dreamfusion", wanted(tmp_path / "out"), tmp_path, **variables)
    launched = read_record(record)
    assert launched["argv"][launched["argv"].index("--gpu") + 1] == gpu
    assert launched["environ"].get("CUDA_VISIBLE_DEVICES", "") == (gpu if visible else "")


@pytest.mark.parametrize(("steps", "used"), [(20_000, 10_000), (10, 500), (500, 500), (10_000, 10_000)])
def test_a_changed_number_of_steps_is_told(steps, used, tmp_path):
    record = tmp_path / "record"
    ended = run_once(
        "dreamfusion", wanted(tmp_path / "out", params={"max_steps": steps}), tmp_path,
        **stand_in("dreamfusion", record=record),
    )  # fmt: skip
    assert f"trainer.max_steps={used}" in read_record(record)["argv"]
    assert ended.last["facts"]["steps"] == used
    assert any(f"from {steps} to {used}" in note for note in ended.last["notes"]) is (steps != used)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("${oc.env:LC_SECRET}", "$ {oc.env:LC_SECRET}"),
        ("--train\nname=x", "--train name=x"),
        ("quotes \" and '", "quotes \" and '"),
        ("一只猫 🦊", "一只猫 🦊"),
        ("123", "123"),
        ("lib:hamburger", "lib :hamburger"),
    ],
)
def test_a_hostile_prompt_reaches_the_settings_as_text(prompt, told, tmp_path):
    """The stand-in parses and expands as OmegaConf does; what it stores is what it understood."""
    out = tmp_path / "out"
    variables = stand_in("dreamfusion", "no_export", LC_SECRET="hunter2")
    run_once("dreamfusion", wanted(out, prompt=prompt), tmp_path, **variables)
    stored = (trial_of(out) / "configs" / "parsed.yaml").read_text()
    assert "hunter2" not in stored
    assert yaml.safe_load(stored)["system"]["prompt_processor"]["prompt"] == told


@pytest.mark.parametrize("prompt", [None, "", "???", "x" * 10_000])
def test_a_prompt_that_cannot_be_used_starts_nothing(prompt, tmp_path):
    record = tmp_path / "record"
    variables = stand_in("dreamfusion", record=record)
    ended = run_once("dreamfusion", wanted(tmp_path / "out", prompt=prompt), tmp_path, **variables)
    assert (ended.last["code"], ended.code) == ("prompt_rejected", 2)
    assert not record.exists()


def test_a_textured_export_becomes_a_glb_that_stands_upright(tmp_path):
    out = tmp_path / "out"
    ended = run_once("dreamfusion", wanted(out), tmp_path, **stand_in("dreamfusion"))
    content = (out / "mesh.glb").read_bytes()
    mesh = decode_glb(content)
    assert len(mesh.faces) == 12
    assert mesh.texture.startswith(b"\x89PNG")
    assert mesh.texture_mime_type == "image/png"
    assert mesh.colours is None
    (material,) = read_document(content)["materials"]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 0.9
    assert set(map(tuple, mesh.uvs.tolist())) == {(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)}
    assert ended.last["facts"] | {"peak_rss_bytes": 0} == {
        "loads": 1, "steps": STEPS, "resumed": False, "vertices": ended.last["facts"]["vertices"],
        "faces": 12, "textured": True, "peak_rss_bytes": 0,
    }  # fmt: skip
    assert sorted(os.listdir(out)) == ["mesh.glb", "model.obj"]
    assert ended.last["seed"] == 3


def test_progress_follows_the_metrics_file(tmp_path):
    record, file = tmp_path / "record", tmp_path / "request.json"
    file.write_text(json.dumps(wanted(tmp_path / "out")))
    variables = stand_in("dreamfusion", "wait_after_training", record)
    with Resident("dreamfusion", arguments=("--request", str(file)), **variables) as wrapper:
        event = wrapper.wait_for("progress")
        while event["step"] is None:
            event = wrapper.wait_for("progress")
        assert 0 < event["step"] <= event["steps"] == STEPS
        assert 0 < event["fraction"] <= 0.9
        Path(f"{record}.go").touch()
        assert wrapper.wait_for("done")["facts"]["steps"] == STEPS


def test_an_interrupted_training_goes_on_from_its_last_checkpoint(tmp_path):
    first, second, record = tmp_path / "first", tmp_path / "second", tmp_path / "record"
    ended = run_once("dreamfusion", wanted(first), tmp_path, **stand_in("dreamfusion", "preempted"))
    assert (ended.last["code"], ended.last["retryable"]) == ("script_failed", True)
    ended = run_once(
        "dreamfusion", wanted(second, resume_dir=first), tmp_path, **stand_in("dreamfusion", record=record)
    )
    assert ended.code == 0, ended.stderr
    arguments = read_record(record)["argv"]
    trial = trial_of(second)
    assert arguments[:2] == ["--config", str(trial / "configs" / "parsed.yaml")]
    assert arguments[-1] == f'resume="{trial / "ckpts" / "last.ckpt"}"'
    assert "training from step 600" in ended.stderr
    assert ended.last["facts"]["resumed"] is True


def test_a_checkpoint_that_was_cut_short_is_passed_over_for_an_older_one(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    run_once("dreamfusion", wanted(first), tmp_path, **stand_in("dreamfusion", "torn"))
    resumed = wanted(second, resume_dir=trial_of(first))
    ended = run_once("dreamfusion", resumed, tmp_path, **stand_in("dreamfusion"))
    assert ended.code == 0, ended.stderr
    assert "training from step 600" in ended.stderr


@pytest.mark.parametrize("left", ["nothing", "torn"])
def test_an_attempt_that_left_no_whole_checkpoint_starts_anew_and_says_so(left, tmp_path):
    first = tmp_path / "first"
    first.mkdir()
    if left == "torn":
        run_once("dreamfusion", wanted(first), tmp_path, **stand_in("dreamfusion", "torn"))
        (trial_of(first) / "ckpts" / "epoch=0-step=600.ckpt").write_bytes(b"PK\x03\x04 cut")
    resumed = wanted(tmp_path / "second", resume_dir=first)
    ended = run_once("dreamfusion", resumed, tmp_path, **stand_in("dreamfusion"))
    assert ended.code == 0, ended.stderr
    assert "training from step 0" in ended.stderr
    assert any("starts anew" in note for note in ended.last["notes"])


def test_an_export_alone_takes_the_checkpoint_of_an_earlier_attempt(tmp_path):
    first, record = tmp_path / "first", tmp_path / "record"
    run_once("dreamfusion", wanted(first), tmp_path, **stand_in("dreamfusion", "no_export"))
    again = wanted(tmp_path / "second", resume_dir=first, task="export")
    ended = run_once("dreamfusion", again, tmp_path, **stand_in("dreamfusion", record=record))
    assert ended.code == 0, ended.stderr
    assert not record.exists()
    nothing = wanted(tmp_path / "third", resume_dir=tmp_path / "out", task="export")
    (tmp_path / "out").mkdir()
    assert (
        run_once("dreamfusion", nothing, tmp_path, **stand_in("dreamfusion")).last["code"]
        == "invalid_request"
    )


def test_failing_test_views_do_not_lose_a_finished_training(tmp_path):
    ended = run_once(
        "dreamfusion", wanted(tmp_path / "out"), tmp_path, **stand_in("dreamfusion", "test_fails")
    )
    assert ended.last["event"] == "done"
    assert any("test views failed" in note for note in ended.last["notes"])


@pytest.mark.parametrize(("fault", "code", "exit_code", "retryable"), FAULTS)
def test_each_fault_of_the_program_has_its_code(fault, code, exit_code, retryable, tmp_path):
    variables = stand_in("dreamfusion", fault, UPSTREAM_STALL_S="0.8" if fault == "hang" else "60")
    ended = run_once("dreamfusion", wanted(tmp_path / "out"), tmp_path, **variables)
    assert (ended.last["code"], ended.code) == (code, exit_code)
    assert ended.last["retryable"] is retryable
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("no_checkpoint", "empty_output"),
        ("no_export", "empty_output"),
        ("no_faces", "empty_output"),
        ("nan_mesh", "broken_output"),
        ("wild_index", "broken_output"),
    ],
)
def test_an_exit_code_of_zero_is_not_believed(fault, code, tmp_path):
    ended = run_once("dreamfusion", wanted(tmp_path / "out"), tmp_path, **stand_in("dreamfusion", fault))
    assert (ended.last["code"], ended.code) == (code, 5)
    assert not (tmp_path / "out" / "mesh.glb").exists()


@pytest.mark.parametrize(("fault", "told"), [("no_mtl", "material file"), ("no_texture", "texture")])
def test_a_missing_material_or_texture_is_told_and_the_shape_still_comes(fault, told, tmp_path):
    ended = run_once("dreamfusion", wanted(tmp_path / "out"), tmp_path, **stand_in("dreamfusion", fault))
    assert ended.last["event"] == "done"
    assert any(told in note for note in ended.last["notes"])
    assert decode_glb((tmp_path / "out" / "mesh.glb").read_bytes()).texture is None


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"DREAMFUSION_SCRIPT_PATH": ""}, "is not set"),
        ({"DREAMFUSION_SCRIPT_PATH": "/nowhere/launch.py"}, "no such file"),
        ({"DREAMFUSION_CONFIG": "configs/other.yaml"}, "does not exist"),
        ({"DREAMFUSION_SD_MODEL_PATH": "/nowhere/sd"}, "model_index.json"),
    ],
)
def test_what_is_missing_is_told_in_the_description(variables, told):
    (described,) = command("dreamfusion", ["--describe"], **(stand_in("dreamfusion") | variables)).events
    assert described["ready"] is False
    assert told in described["reason"]
    assert described["modes"] == ["one_shot"]


def test_nothing_trains_on_after_a_cancel(tmp_path):
    record, file = tmp_path / "record", tmp_path / "request.json"
    file.write_text(json.dumps(wanted(tmp_path / "out")))
    variables = stand_in("dreamfusion", "hang", record)
    with Resident("dreamfusion", arguments=("--request", str(file)), **variables) as wrapper:
        launched = read_record(record)
        wrapper.process.send_signal(signal.SIGTERM)
        assert wrapper.wait_for("canceled", "failed")["event"] == "canceled"
        assert wrapper.exit_code() == 6
        assert not any(map(is_alive, [launched["pid"], launched["child"]]))


def test_a_killed_wrapper_leaves_no_training_behind_and_a_checkpoint_to_go_on_from(tmp_path):
    record, file, out = tmp_path / "record", tmp_path / "request.json", tmp_path / "out"
    file.write_text(json.dumps(wanted(out)))
    variables = stand_in("dreamfusion", "wait_after_training", record)
    with Resident("dreamfusion", arguments=("--request", str(file)), **variables) as wrapper:
        launched = read_record(record)
        # a checkpoint that is there may not be whole yet
        wait_until(Path(f"{record}.waiting").exists, "the last checkpoint is written")
        wrapper.process.kill()
        wait_until(lambda: not is_alive(launched["pid"]), "the training is gone")
    moved = tmp_path / "moved to another host"
    shutil.move(out, moved)
    resumed = wanted(tmp_path / "second", resume_dir=moved)
    ended = run_once("dreamfusion", resumed, tmp_path, **stand_in("dreamfusion"))
    assert ended.last["facts"]["resumed"] is True


@pytest.mark.parametrize(("name", "steps", "used"), [("model.obj", None, 1000), ("deep/m.glb", 300, 1000)])
def test_the_predecessors_command_line_keeps_working(name, steps, used, tmp_path):
    record, target = tmp_path / "record", tmp_path / "results" / name
    arguments = ["--prompt", "--a mug with dashes", "--output_path", str(target)]
    arguments += ["--max_steps", str(steps)] if steps else []
    ended = command("dreamfusion", arguments, **stand_in("dreamfusion", record=record))
    assert ended.code == 0, ended.stderr
    launched = read_record(record)["argv"]
    assert f"trainer.max_steps={used}" in launched
    assert 'system.prompt_processor.prompt="--a mug with dashes"' in launched
    assert os.listdir(target.parent) == [target.name]
    if target.suffix == ".obj":
        assert len(target.read_text().split("\nv ")[1].split("\n")[0].split()) == 6  # colours at the vertices
    else:
        assert len(decode_glb(target.read_bytes()).faces) == 12


def test_the_predecessors_command_line_ends_with_one_where_the_training_fails(tmp_path):
    arguments = ["--prompt", "a mug", "--output_path", str(tmp_path / "m.obj")]
    ended = command("dreamfusion", arguments, **stand_in("dreamfusion", "crash"))
    assert ended.code == 1
    assert "something unforeseen" in ended.stderr.splitlines()[-1]


def test_vertex_colours_are_made_linear(tmp_path):
    out = tmp_path / "out"
    ended = run_once(
        "dreamfusion", wanted(out, params={"texture": False}), tmp_path, **stand_in("dreamfusion")
    )
    assert ended.code == 0, ended.stderr
    colours = decode_glb((out / "mesh.glb").read_bytes()).colours
    # sRGB 0.5 and 0.25 in linear light, by IEC 61966-2-1
    assert set(np.unique(colours[:, 0])) == {0, 55}
    assert set(np.unique(colours[:, 1])) == {13}
    assert set(np.unique(colours[:, 3])) == {255}


def test_the_wrapper_runs_with_the_interpreter_that_is_named(tmp_path):
    record = tmp_path / "record"
    run_once("dreamfusion", wanted(tmp_path / "out"), tmp_path, **stand_in("dreamfusion", record=record))
    environ = read_record(record)["environ"]
    assert environ["PATH"].split(os.pathsep)[0] == os.path.dirname(sys.executable)
    assert environ["PYTHONUTF8"] == "1"
