"""Where the earlier systems contradicted each other, or themselves: what holds now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.catalogue import Readiness, check_request
from pipeline3d.requests.listing import states_of_words
from pipeline3d.requests.status_words import WORDS
from pipeline3d.values import JobState
from resources.catalogue import shipped_model


def check(model_id, sent, prompt=None):
    model = replace(shipped_model(model_id), readiness=Readiness(ready=True))
    return check_request(model, sent, prompt=prompt, bucket="pipeline3d").params


@pytest.mark.parametrize("contract", WORDS)
def test_every_word_that_an_earlier_system_is_told_can_be_asked_for(contract):
    for state in (JobState.QUEUED, JobState.RUNNING, JobState.CANCELING, JobState.SUCCEEDED, JobState.FAILED):
        word = WORDS[contract][state]
        for spelled in (word, word.upper(), f" {word}"):
            assert state in states_of_words([spelled])


@pytest.mark.parametrize("field", ["input_path", "image_path"])
def test_the_picture_has_two_names_and_one_place(field):
    assert check("sf3d-v1", {field: "k"})["input_path"] == "k"


def test_two_different_pictures_are_one_too_many():
    with pytest.raises(InvalidParameters, match="two different"):
        check("sf3d-v1", {"input_path": "a", "image_path": "b"})


@pytest.mark.parametrize(
    ("steps", "ok"), [(300, False), (499, False), (500, True), (1000, True), (10_000, True), (10_001, False)]
)
def test_dreamfusion_takes_what_its_page_offered(steps, ok):
    if ok:
        assert check("dreamfusion-sd", {"max_steps": steps}, prompt="a chair")["max_steps"] == steps
    else:
        with pytest.raises(InvalidParameters, match="at least 500 and at most 10000"):
            check("dreamfusion-sd", {"max_steps": steps}, prompt="a chair")


@pytest.mark.parametrize(
    ("model", "parameter", "value"),
    [
        ("dreamfusion-sd", "guidance_scale", 100.0),  # the page had 7.5, which is for pictures
        ("dreamfusion-sd", "max_steps", 10_000),  # the catalogue's, not the wrapper's 1,000
        ("sf3d-v1", "remesh_option", "triangle"),  # upstream has none
        ("sf3d-v1", "texture_resolution", 1024),
        ("product-triposr-v1", "quality", "balanced"),
    ],
)
def test_of_contradicting_defaults_one_was_chosen(model, parameter, value):
    assert shipped_model(model).default_params[parameter] == value


@pytest.mark.parametrize(("quality", "cells"), [("fast", 128), ("balanced", 256), ("quality", 384)])
def test_the_presets_of_triposr_are_those_of_the_handbook(quality, cells):
    product = {"shop": "s", "product_id": "1", "image_urls": ["https://cdn.example.com/a.jpg"]}
    assert check("product-triposr-v1", {**product, "quality": quality})["mc_resolution"] == cells
