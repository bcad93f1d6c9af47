"""The catalogue that is shipped, and what a wrong one is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from pipeline3d.errors import InvalidParameters, ModelNotReady, SettingsError
from pipeline3d.requests.catalogue import Readiness, check_request, load_catalogue

SHIPPED = Path(__file__).parents[3] / "resources" / "catalogue.json"
BUCKET = "pipeline3d"


DELIVERY = {
    name: rule["default"]
    for name, rule in json.loads(SHIPPED.read_text())["parameter_sets"]["delivery"].items()
    if "default" in rule
}
"""What every request for a model is completed with."""


@pytest.fixture(scope="module")
def models():
    return {model.id: model for model in load_catalogue(SHIPPED)}


def test_the_shipped_catalogue_has_our_models_and_those_of_the_predecessors(models):
    assert {"inflate-v1", "sculpt-v1", "probe-v1", "triposr-v1", "sf3d-v1", "dreamfusion-sd"} < set(models)


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
    assert (
        models["sf3d-v1"].default_params.items()
        >= {
            "texture_resolution": 1024,
            "remesh_option": "triangle",
            "foreground_ratio": 0.85,
            "batch_size": 1,
        }.items()
    )
    assert (
        models["dreamfusion-sd"].default_params.items()
        >= {
            "max_steps": 10000,
            "guidance_scale": 100.0,
            "seed": 0,
            "random_bg": True,
            "batch_size": 1,
        }.items()
    )


def test_a_model_that_is_not_ready_is_refused_with_the_reason(models):
    missing = Readiness(ready=False, code="weights_missing", reason="There is no model.ckpt.", hint="Get it.")
    with pytest.raises(ModelNotReady) as caught:
        check_request(replace(models["sf3d-v1"], readiness=missing), {}, prompt=None, bucket=BUCKET)
    assert (caught.value.code, caught.value.message) == ("weights_missing", "There is no model.ckpt.")
    assert caught.value.hint == "Get it."


def test_a_model_of_a_kind_that_is_not_built_must_say_so(tmp_path):
    document = json.loads(SHIPPED.read_text())
    entry = next(model for model in document["models"] if model["id"] == "whisper-small")
    assert entry.pop("readiness")["code"] == "not_built"
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({**document, "models": [entry]}))
    with pytest.raises(SettingsError, match="whisper-small"):
        load_catalogue(path)


def test_the_shipped_catalogue_follows_its_schema():
    document = json.loads(SHIPPED.read_text())
    schema = json.loads(SHIPPED.with_name("catalogue.schema.json").read_text())
    assert list(Draft202012Validator(schema).iter_errors(document)) == []


@pytest.mark.parametrize(
    ("sent", "cells"),
    [
        ({}, 256),  # the default quality
        ({"quality": "fast"}, 128),
        ({"quality": "quality"}, 384),
        ({"quality": "fast", "mc_resolution": 200}, 200),  # what is sent wins
    ],
)
def test_a_quality_sets_what_the_request_leaves_out(models, sent, cells):
    model = replace(models["triposr-v1"], readiness=Readiness(ready=True))
    checked = check_request(model, {"input_path": "k", **sent}, prompt=None, bucket=BUCKET)
    assert checked.params["mc_resolution"] == cells


def test_a_preset_that_its_own_schema_refuses_stops_the_start(tmp_path):
    entry = next(model for model in json.loads(SHIPPED.read_text())["models"] if model["id"] == "triposr-v1")
    entry["parameters_schema"]["x-presets"]["fast"]["mc_resolution"] = 7
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({**json.loads(SHIPPED.read_text()), "models": [entry]}))
    with pytest.raises(SettingsError, match="mc_resolution"):
        load_catalogue(path)


def test_a_request_is_completed_and_its_prompt_taken_out(models):
    checked = check_request(
        models["inflate-v1"],
        {"image_path": "k", "prompt": "a cup", "bucket": BUCKET},
        prompt=None,
        bucket=BUCKET,
    )
    assert checked.input_key == "k"
    assert checked.prompt == "a cup"
    assert (
        checked.params
        == {
            "input_path": "k",
            "quality": "balanced",
            "foreground_ratio": 0.85,
            "texture_resolution": 1024,
            "background_removal": "auto",
            "size_m": 1.0,
            "seed": 0,
        }
        | DELIVERY
    )


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
    path.write_text(json.dumps({**json.loads(SHIPPED.read_text()), "models": [entry]}))
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
    path.write_text(json.dumps({**json.loads(SHIPPED.read_text()), "models": [entry, entry]}))
    with pytest.raises(SettingsError, match="more than once"):
        load_catalogue(path)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({}, "missing_model"),
        ({"input_path": "k", "source_job_id": "01a205dd-9d3c-7718-ae49-9061434e9a03"}, "ambiguous_model"),
        ({"input_path": "k", "formats": ["fbx"]}, "invalid_parameters"),
        ({"input_path": "k", "formats": ["obj", "obj"]}, "invalid_parameters"),
        ({"input_path": "k", "background": "red"}, "invalid_parameters"),
        ({"input_path": "k", "profile": "cinema"}, "invalid_parameters"),
    ],
)
def test_an_export_is_of_one_model_and_into_known_forms(models, sent, code):
    with pytest.raises(InvalidParameters) as caught:
        check_request(models["export-v1"], sent, prompt=None, bucket=BUCKET)
    assert caught.value.code == code


def test_a_parameter_set_that_is_not_there_stops_the_start(tmp_path):
    document = json.loads(SHIPPED.read_text())
    document["models"][0]["parameter_sets"] = ["teleport"]
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps(document))
    with pytest.raises(SettingsError, match="teleport"):
        load_catalogue(path)
