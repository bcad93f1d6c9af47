"""Wrappers as the resource starts them: the right Python, only what they may see, and no logs left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline3d.errors import ModelNotReady, PermanentFailure
from pipeline3d.generation.serving import WrapperRequest
from resources.gpu import Device
from resources.wrapper_process import WrapperPrograms

WRAPPERS = Path(__file__).parents[3] / "wrappers"
CPU = Device(name="cpu", local="cpu")
GPU = Device(name="cuda:3", local="cuda:0")

# Names a variable of its own and a secret, and says in `reason` what it sees of the environment.
NOSY = """
import json, os, sys
print(json.dumps({
    "protocol": 1, "name": "nosy", "version": "1", "kind": "image_to_3d", "modes": ["one_shot"],
    "environment": ["NOSY_PATH", "MINIO_SECRET_KEY"], "ready": "NOSY_PATH" in os.environ,
    "reason": " ".join(sorted(os.environ)), "needs": [],
}))
"""


@pytest.fixture
def programs(tmp_path) -> WrapperPrograms:
    return WrapperPrograms(wrappers_dir=str(WRAPPERS), log_dir=str(tmp_path / "logs"))


@pytest.fixture
def nosy(tmp_path) -> WrapperPrograms:
    (tmp_path / "wrappers" / "nosy").mkdir(parents=True)
    (tmp_path / "wrappers" / "nosy" / "run.py").write_text(NOSY)
    return WrapperPrograms(wrappers_dir=str(tmp_path / "wrappers"), log_dir=str(tmp_path / "logs"))


def test_a_wrapper_sees_its_own_variables_and_no_secret(nosy, monkeypatch):
    monkeypatch.setenv("NOSY_PATH", "/somewhere")
    monkeypatch.setenv("MINIO_SECRET_KEY", "secret")
    monkeypatch.setenv("EDITOR", "vi")
    description = nosy.describe("nosy")
    assert description.ready
    seen = set(description.reason.split())
    assert "NOSY_PATH" in seen
    assert not seen & {"MINIO_SECRET_KEY", "EDITOR", "DATABASE_URL"}


@pytest.mark.parametrize(("device", "visible"), [(CPU, ""), (GPU, "3"), (None, None)])
def test_a_wrapper_sees_its_own_device_only(programs, device, visible, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = programs.program("fake_model", device=device)
    assert program.environment.get("CUDA_VISIBLE_DEVICES") == visible


@pytest.mark.parametrize("name", ["missing", "../fake_model", "", ".", "fake_model/run.py"])
def test_a_wrapper_that_is_not_there_is_not_ready(programs, name):
    with pytest.raises(ModelNotReady) as raised:
        programs.program(name)
    assert raised.value.code == "model_missing"


def test_an_interpreter_that_is_gone_is_told(programs, tmp_path):
    gone = WrapperPrograms(
        wrappers_dir=str(WRAPPERS),
        log_dir=str(tmp_path / "logs"),
        pythons={"fake_model": "/nowhere/venv/bin/python"},
    )
    with pytest.raises(ModelNotReady) as raised:
        gone.describe("fake_model")
    assert raised.value.code == "model_missing"
    assert "/nowhere/venv/bin/python" in raised.value.message


def test_a_run_of_a_wrapper_leaves_its_log_until_it_is_closed_and_then_nothing(programs, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    spec = programs.spec("fake_model", device=CPU, weights_bytes=1, mode="one_shot")
    assert spec.idle_s == 0
    servable = spec.open()
    servable.load(lambda: False)
    with pytest.raises(PermanentFailure):
        servable.model.run(WrapperRequest(id="j:1", output_dir=output, params={"raises": True}))
    assert b"the stand-in was told to raise" in servable.model.read_log()
    servable.close()
    assert list((tmp_path / "logs").iterdir()) == []


def test_logs_of_workers_that_are_gone_are_swept(programs, tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    logs = tmp_path / "logs"
    logs.mkdir()
    for pid in (gone.pid, os.getpid()):
        (logs / f"sf3d.{pid}.1.log").touch()
    with pytest.raises(ModelNotReady):
        programs.start("missing")
    programs.start("fake_model", mode="one_shot").close()
    assert (logs / f"sf3d.{os.getpid()}.1.log").exists()
    assert not (logs / f"sf3d.{gone.pid}.1.log").exists()


def test_models_with_other_load_parameters_are_other_models(programs):
    keys = {
        programs.spec("fake_model", device=device, weights_bytes=1, load_params=params).key
        for device in (CPU, GPU)
        for params in (None, {"half": True}, {"half": False})
    }
    assert len(keys) == 6
