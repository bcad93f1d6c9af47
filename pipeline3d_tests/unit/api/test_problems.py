"""Every error has one status, and a problem document never breaks."""

from __future__ import annotations

import json

import pytest
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from pipeline3d import errors
from pipeline3d.api.bodies import JobCreate
from pipeline3d.api.problems import STATUS_BY_ERROR, build_problem, name_field, status_of, validation_problem
from pipeline3d.requests.parameters import MOST_TOLD


def _subclasses(cls):
    return {cls}.union(*(_subclasses(child) for child in cls.__subclasses__()))


@pytest.mark.parametrize("cls", sorted(_subclasses(errors.RequestError), key=lambda cls: cls.__name__))
def test_every_error_that_a_caller_can_fix_has_a_status(cls):
    assert cls in STATUS_BY_ERROR
    assert 400 <= status_of(cls("x")) <= 501


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotAuthenticated("x"), 401),
        (errors.NotAuthenticated("x", code="invalid_api_key"), 403),  # the predecessor's two answers
        (errors.NotYours("x"), 403),
        (errors.UnknownModel("x"), 404),
        (errors.NotFinished("x"), 400),
        (errors.RequestError("x", code="no_result"), 404),
        (errors.IdempotencyConflict("x"), 409),
        (errors.RequestError("x", code="file_too_large"), 413),
        (errors.InvalidParameters("x", code="not_an_image"), 422),  # a code of its own, the class's status
        (errors.ModelNotReady("x", code="not_built"), 501),
    ],
)
def test_an_error_has_the_status_of_its_code_or_of_its_class(error, status):
    assert status_of(error) == status


def test_a_problem_can_quote_anything_that_came():
    problem = build_problem(422, "c", "half a character: \ud800")
    assert json.loads(problem.body)["detail"] == "half a character: \ud800"
    assert problem.media_type == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"deadline": "tomorrow"}, "deadline"),
        ({"deadline": -1}, "deadline"),
        ({"tags": [1]}, "tags.0"),
        ({"priority": "high"}, "priority"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_a_field_is_named_as_it_was_sent(body, field):
    with pytest.raises(ValidationError) as refused:
        JobCreate.model_validate({"model_id": "sculpt-v1", **body})
    assert {name_field(error) for error in refused.value.errors()} == {field}


def test_a_field_that_nobody_knows_is_named_whatever_it_is_called():
    for name in ("bool", "a[b]"):
        assert name_field({"loc": ("body", "more", name), "type": "extra_forbidden"}) == f"body.more.{name}"


def test_of_very_many_wrong_fields_some_are_named():
    wrong = [{"loc": ("body", f"{n}" * 1000), "type": "extra_forbidden", "msg": "no"} for n in range(1000)]
    request = Request({"type": "http", "headers": [(b"content-type", b"application/json")]})
    problem = validation_problem(request, RequestValidationError(wrong))
    assert problem.status_code == 422
    assert len(json.loads(problem.body)["errors"]) == MOST_TOLD
    assert len(problem.body) < 20_000
