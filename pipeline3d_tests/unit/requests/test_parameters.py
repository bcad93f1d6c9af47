"""Parameters against a model's schema: what is wrong is named, what passes is complete."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.parameters import (
    MAX_TOLD_CHARACTERS,
    MOST_VALIDATORS,
    complete_parameters,
    find_unstorable,
    storable_text,
    take_image_key,
)

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "quality": {"type": "string", "enum": ["fast", "fine"], "default": "fast"},
        "size_m": {"type": "number", "exclusiveMinimum": 0, "maximum": 10, "default": 1.0},
        "seed": {"type": "integer", "minimum": 0, "default": 0},
        "label": {"type": "string", "minLength": 1, "maxLength": 5},
        "flag": {"type": "boolean"},
        "shop": {"type": "string", "maxLength": 9, "pattern": "^[a-z.]+$"},
    },
}


def test_missing_parameters_take_their_defaults():
    assert complete_parameters(SCHEMA, {}) == {"quality": "fast", "size_m": 1.0, "seed": 0}


def test_what_was_sent_wins_over_the_default():
    assert complete_parameters(SCHEMA, {"seed": 7})["seed"] == 7


def test_a_whole_number_that_was_sent_as_a_float_becomes_whole():
    assert repr(complete_parameters(SCHEMA, {"seed": 7.0})["seed"]) == "7"


@pytest.mark.parametrize(
    ("sent", "field", "words"),
    [
        ({"quality": "best"}, "quality", ("'best'", "fast, fine")),  # names what came and what is allowed
        ({"size_m": 0}, "size_m", ("is 0", "more than 0", "at most 10")),  # a limit that is excluded
        ({"size_m": 11}, "size_m", ("is 11", "at most 10")),
        ({"size_m": "1"}, "size_m", ("'1'", "a number")),  # text is no number
        ({"seed": 1.5}, "seed", ("1.5", "a whole number")),
        ({"seed": True}, "seed", ("True", "a whole number")),  # true is not 1
        ({"seed": None}, "seed", ("None", "a whole number")),
        ({"label": ""}, "label", ("''", "text, not empty and at most 5 characters")),
        ({"label": "x" * 500}, "label", ("…", "at most 5 characters")),  # what came is cut off
        ({"shop": "a shop"}, "shop", ("'a shop'", "at most 9 characters and of the form ^[a-z.]+$")),
        ({"flag": "yes"}, "flag", ("'yes'", "true or false")),
        ({"sede": 1}, "sede", ("no parameter", "seed")),  # a slip of the pen is told the right names
        ({"label": "a\x00"}, "label", ("\\x00", "NUL")),  # Postgres cannot store it
        ({"label": "\ud800"}, "label", ("ud800", "broken")),  # half a character
        ({"size_m": math.nan}, "size_m", ("nan", "finite")),  # JSON has no NaN, Python's reader does
    ],
)
def test_a_wrong_parameter_is_named_with_what_came_and_what_is_allowed(sent, field, words):
    with pytest.raises(InvalidParameters) as caught:
        complete_parameters(SCHEMA, sent)
    [problem] = caught.value.details["errors"]
    assert problem["field"] == field
    for word in words:
        assert word in problem["message"]
    assert problem["message"] in caught.value.message
    caught.value.message.encode()  # it can be sent


MANY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "formats": {"type": "array", "items": {"enum": ["obj", "stl"]}, "uniqueItems": True},
        "photos": {"type": "array", "items": {"type": "string"}, "maxItems": 8, "uniqueItems": True},
        "scenes": {"type": "array", "items": {"type": "object"}, "maxItems": 2000},
    },
}


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"formats": [0] * 300_000}, ""),
        ({"formats": [{"a": n} for n in range(4_000)]}, "formats"),  # compared with each other: for minutes
        ({"photos": ["x"] * 9}, "photos"),
        ({"scenes": [{"a": 1}] * 2_001}, "scenes"),
        ({"scenes": [{"a": [1] * 50}] * 2_000}, ""),
        ({f"unknown {n}": 0 for n in range(9_000)}, "unknown 0"),
        ({"x" * 900_000: 0}, "x" * 80 + "…"),
        ({"formats": [math.nan] * 90}, "formats.0"),
    ],
)
def test_what_is_too_much_is_refused_shortly_and_not_looked_at(sent, field):
    with pytest.raises(InvalidParameters) as caught:
        complete_parameters(MANY, sent)
    assert caught.value.details["errors"][0]["field"] == field
    assert len(str(caught.value.details)) + len(caught.value.message) < 20_000


def test_as_many_entries_as_a_schema_allows_are_taken():
    sent = {"scenes": [{"a": 1}] * 2_000, "formats": ["obj", "stl"]}
    assert complete_parameters(MANY, sent) == sent


def test_every_wrong_parameter_is_named_at_once():
    with pytest.raises(InvalidParameters) as caught:
        complete_parameters(SCHEMA, {"seed": -1, "quality": "best", "size_m": 99})
    assert [problem["field"] for problem in caught.value.details["errors"]] == ["quality", "seed", "size_m"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), json_values, max_size=4))
def test_anything_is_either_completed_or_refused_with_fields(sent):
    try:
        complete = complete_parameters(SCHEMA, sent)
    except InvalidParameters as error:
        problems = error.details["errors"]
    else:
        problems = None
        assert {"quality", "size_m", "seed"} <= set(complete)
        assert complete_parameters(SCHEMA, complete) == complete
    assert problems is None or problems


def test_a_value_nested_beyond_the_limit_cannot_be_stored():
    deep: dict = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert find_unstorable(deep) is not None
    assert find_unstorable({"a": {"b": [1, "x", None]}}) is None


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ({"input_path": "k"}, "k"),
        ({"image_path": "k"}, "k"),  # the name that earlier clients send
        ({"input_path": "k", "image_path": "k"}, "k"),  # both, and they agree
        ({}, None),
    ],
)
def test_the_picture_is_found_under_both_names(sent, key):
    found, rest = take_image_key({**sent, "seed": 1})
    assert found == key
    assert rest == ({"seed": 1} if key is None else {"input_path": key, "seed": 1})


def test_two_different_pictures_are_refused():
    with pytest.raises(InvalidParameters, match="two different objects"):
        take_image_key({"input_path": "a", "image_path": "b"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain words: äöü 日本", "plain words: äöü 日本"),
        ("a\x00b", "a\\x00b"),
        ("a\ud800b", "a?b"),
        ("x" * (MAX_TOLD_CHARACTERS + 1), "x" * MAX_TOLD_CHARACTERS + "…"),
    ],
)
def test_what_a_stranger_put_into_a_message_can_be_stored(text, told):
    assert storable_text(text) == told
    assert find_unstorable({"message": storable_text(text)}) is None


def test_equal_looking_schemas_are_told_apart_however_many_there_are():
    for most in range(3 * MOST_VALIDATORS):
        schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": most}}}
        for _ in range(2):  # made, and kept
            assert complete_parameters(schema, {"n": most}) == {"n": most}
            with pytest.raises(InvalidParameters):
                complete_parameters(schema, {"n": most + 1})
