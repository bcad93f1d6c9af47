"""Which models can run here: looked at on disk and asked of the wrappers, never guessed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline3d.readiness import assess
from pipeline3d.settings import Settings
from pipeline3d_tests import tiny_triposr
from resources.catalogue import shipped_models

SF3D = Path(__file__).parents[1] / "wrapper_scripts" / "sf3d" / "run.py"


def assess_here(tmp_path, **settings):
    """The shipped models by id, as an installation with these settings sees them."""
    configured = Settings(_env_file=None, pipeline3d_data_dir=tmp_path, **settings)
    return {model.id: model for model in assess(list(shipped_models().values()), configured)}


def test_a_new_installation_has_the_embedded_models_and_says_what_the_others_need(tmp_path):
    models = assess_here(tmp_path)
    ready = {name for name, model in models.items() if model.readiness.ready}
    assert {"inflate-v1", "sculpt-v1", "product-inflate-v1", "probe-v1"} <= ready
    for name in ("triposr-v1", "sf3d-v1", "dreamfusion-sd", "triposr-upstream", "product-triposr-v1"):
        readiness = models[name].readiness
        assert not readiness.ready
        assert readiness.code not in (None, "not_checked")
        assert readiness.reason
        assert readiness.hint


def test_no_host_makes_a_model_ready_whose_pipeline_is_not_built(tmp_path):
    for settings in ({}, {"use_gpu": True}):
        models = assess_here(tmp_path, **settings)
        assert models["whisper-small"].readiness == shipped_models()["whisper-small"].readiness
        assert models["whisper-small"].readiness.code == "not_built"


def test_weights_in_the_folder_of_the_models_make_triposr_ready(tmp_path):
    tiny_triposr.write_directory(tmp_path / "models" / "triposr")
    models = assess_here(tmp_path)
    assert models["triposr-v1"].readiness.ready
    assert models["product-triposr-v1"].readiness.ready
    (tmp_path / "models" / "triposr" / "model.ckpt").write_bytes(b"not a checkpoint")
    broken = assess_here(tmp_path)["triposr-v1"].readiness
    assert (broken.ready, broken.code) == (False, "weights_invalid")


@pytest.mark.parametrize(("use_gpu", "queue"), [(False, "cpu"), (True, "gpu")])
def test_without_a_gpu_the_requests_of_its_models_go_to_the_cpu(tmp_path, use_gpu, queue):
    models = assess_here(tmp_path, use_gpu=use_gpu)
    assert models["triposr-v1"].queue == queue
    assert models["inflate-v1"].queue == "cpu"


def test_a_wrapper_is_asked_and_its_answer_is_told(tmp_path):
    ready = assess_here(tmp_path, sf3d_python_path=sys.executable, sf3d_script_path=SF3D)
    assert ready["sf3d-v1"].readiness.ready
    missing = assess_here(tmp_path, sf3d_python_path=sys.executable, sf3d_script_path=tmp_path / "nowhere.py")
    readiness = missing["sf3d-v1"].readiness
    assert (readiness.ready, readiness.code) == (False, "model_missing")
    assert "nowhere.py" in (readiness.reason or "")


def test_a_python_that_is_none_does_not_stop_the_start(tmp_path):
    models = assess_here(tmp_path, sf3d_python_path=tmp_path, sf3d_script_path=SF3D)
    assert not models["sf3d-v1"].readiness.ready


def test_dreamfusion_is_not_offered_without_a_gpu(tmp_path):
    models = assess_here(tmp_path, dreamfusion_python_path=sys.executable)
    assert models["dreamfusion-sd"].readiness.code == "gpu_missing"
