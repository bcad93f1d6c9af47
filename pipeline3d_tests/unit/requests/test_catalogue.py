"""The catalogue that is shipped, and what a wrong one is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline3d.errors import InvalidParameters, ModelNotReady, SettingsError
from pipeline3d.requests.catalogue import check_request, load_catalogue

SHIPPED = Path(__file__).parents[3] / "resources" / "catalogue.json"
BUCKET = "pipeline3d"


@pytest.fixture(scope="module")
def models():
    return {model.id: model for model in load_catalogue(SHIPPED)}


def test_the_shipped_catalogue_has_our_models_and_those_of_the_predecessors(models):
    assert set(models) == {"inflate-v1", "probe-v1", "triposr-v1", "sf3d-v1", "dreamfusion-sd"}


def test_only_what_is_built_is_ready(models):
    assert {name for name, model in models.items() if model.readiness.ready} == {"inflate-v1", "probe-v1"}


def test_every_parameter_is_explained_and_unknown_ones_are_refused(models):
    for model in models.values():
        assert model.parameters_schema["additionalProperties"] is False
        for rule in model.parameters_schema["properties"].values():
            assert rule["title"]
            assert rule["description"]


def test_every_model_tells_its_licence_and_where_to_read_it(models):
    for model in models.values():
        assert model.licence["name"]
        assert model.licence["link"].startswith("https://")


def test_the_predecessors_defaults_are_kept(models):
    assert models["sf3d-v1"].default_params == {
        "texture_resolution": 1024,
        "remesh_option": "triangle",
        "foreground_ratio": 0.85,
        "batch_size": 1,
    }
    assert models["dreamfusion-sd"].default_params == {
        "max_steps": 10000,
        "guidance_scale": 100.0,
        "seed": 0,
        "random_bg": True,
        "batch_size": 1,
    }


def test_a_model_that_is_not_built_is_refused_with_the_reason(models):
    with pytest.raises(ModelNotReady) as caught:
        check_request(models["sf3d-v1"], {}, prompt=None, bucket=BUCKET)
    assert caught.value.code == "not_built"
    assert "no pipeline for it yet" in caught.value.message


def test_a_request_is_completed_and_its_prompt_taken_out(models):
    checked = check_request(
        models["inflate-v1"],
        {"image_path": "k", "prompt": "a cup", "bucket": BUCKET},
        prompt=None,
        bucket=BUCKET,
    )
    assert checked.image_key == "k"
    assert checked.prompt == "a cup"
    assert checked.params == {
        "input_path": "k",
        "quality": "balanced",
        "foreground_ratio": 0.85,
        "size_m": 1.0,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({}, "missing_image"),  # a model of a picture needs one
        ({"input_path": "k", "bucket": "other"}, "invalid_parameters"),  # nobody chooses the bucket
        ({"input_path": "k", "prompt": 3}, "invalid_parameters"),
        ({"input_path": ""}, "invalid_parameters"),
        ({"input_path": "k", "texture_resolution": 1000}, "invalid_parameters"),
        ({"input_path": "k", "foreground_ratio": 0.4}, "invalid_parameters"),
    ],
)
def test_a_request_that_cannot_work_is_refused_with_a_code(models, sent, code):
    with pytest.raises(InvalidParameters) as caught:
        check_request(models["inflate-v1"], sent, prompt=None, bucket=BUCKET)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "teleport"}, "teleport"),  # a kind that nothing runs
        ({"parameters_schema": {"type": "nonsense"}}, "parameters_schema"),
        ({"surprise": 1}, "surprise"),  # a slip of the pen in a field
    ],
)
def test_a_wrong_entry_stops_the_start_and_names_the_model(tmp_path, change, words):
    entry = json.loads(SHIPPED.read_text())["models"][0] | change
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"models": [entry]}))
    with pytest.raises(SettingsError) as caught:
        load_catalogue(path)
    assert "inflate-v1" in caught.value.message
    assert words in caught.value.message


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"models": 3}', '{"models": [3]}'])
def test_a_catalogue_of_the_wrong_form_stops_the_start(tmp_path, text):
    path = tmp_path / "catalogue.json"
    path.write_text(text)
    with pytest.raises(SettingsError):
        load_catalogue(path)


def test_a_model_named_twice_stops_the_start(tmp_path):
    entry = json.loads(SHIPPED.read_text())["models"][0]
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"models": [entry, entry]}))
    with pytest.raises(SettingsError, match="more than once"):
        load_catalogue(path)
