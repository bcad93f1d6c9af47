"""Checking what a caller asked of a model: pure functions over the model's JSON Schema.

The answer names every field that is wrong, what came and what is allowed. What passes is complete: every
default is filled in and whole numbers are whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from pipeline3d.errors import InvalidParameters

IMAGE_FIELDS = ("input_path", "image_path")
"""Both names of the key of the uploaded picture; the first is the one that is stored."""

MAX_SHOWN_CHARACTERS = 80
MAX_TOLD_CHARACTERS = 4000
"""Of an error's message or hint."""
MOST_TOLD = 20
"""Wrong values that a refusal names. More help nobody, and a body may hold hundreds of thousands."""
MOST_NAMES = 10
"""Unknown parameters that one of them lists."""
MOST_ENTRIES = 100
"""Of a list for which the schema has no limit: comparing its entries with each other takes their square."""
MOST_VALUES = 10_000
"""In all parameters together."""
MAX_DEPTH = 20
"""Levels of nesting: far more than any parameter has, far fewer than would exhaust the stack."""

_TYPE_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


PRESETS = "x-presets"
"""In a model's schema: what each quality sets where the request does not."""


def default_parameters(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a parameter is where nothing is sent: of the default quality where it decides."""
    return complete_parameters(_optional(schema), {})


def check_presets(schema: Mapping[str, Any]) -> None:
    """Raises `InvalidParameters` for defaults and presets that the schema itself refuses."""
    complete_parameters(_optional(schema), default_parameters(schema))
    for quality, preset in schema.get(PRESETS, {}).items():
        complete_parameters(_optional(schema), {"quality": quality, **preset})


def _optional(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rule for name, rule in schema.items() if name != "required"}


def complete_parameters(schema: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with those of their quality and the defaults.

    `InvalidParameters` with one entry per wrong field.
    """
    # Before the schema is looked at, which takes longer the more there is of anything.
    if too_many := _count_too_many(schema, sent):
        raise _invalid(too_many)
    unstorable = [
        _problem(path, value, _UNSTORABLE) for path, value in islice(_unstorable_values(sent), MOST_TOLD)
    ]
    if unstorable:
        raise _invalid(unstorable)
    # The schema describes both names of the picture as optional, so that which is missing is said in words.
    violations = islice(_validator_of(schema).iter_errors(sent), MOST_TOLD)
    problems = [describe_violation(error) for error in violations]
    if problems:
        raise _invalid(sorted(problems, key=lambda problem: problem["field"]))
    properties: Mapping[str, Any] = schema.get("properties", {})
    defaults = {name: rule["default"] for name, rule in properties.items() if "default" in rule}
    quality = sent.get("quality", defaults.get("quality"))
    preset = schema.get(PRESETS, {}).get(quality, {})
    return {
        name: _normalised(properties.get(name, {}), value)
        for name, value in {**defaults, **preset, **sent}.items()
    }


def _count_too_many(schema: Mapping[str, Any], sent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parameters that have more entries than they may, or all of them together."""
    rules = schema.get("properties", {})
    if _holds_more_values(sent, MOST_VALUES):
        return [_too_many("", MOST_VALUES, "the parameters together")]
    most_of = {name: rules.get(name, {}).get("maxItems", MOST_ENTRIES) for name in sent}
    return [
        _too_many(name, most_of[name], _cut(name))
        for name, value in sent.items()
        if isinstance(value, list) and len(value) > most_of[name]
    ][:MOST_TOLD]


def _too_many(field: str, most: int, what: str) -> dict[str, Any]:
    allowed = f"at most {most} values"
    return {
        "field": _cut(field),
        "message": f"{what} may have {allowed}; more came.",
        "got": "more",
        "allowed": allowed,
    }


def _holds_more_values(value: Any, most: int) -> bool:
    """Whether there are more values than that in lists and objects, at any depth."""
    left, waiting = most, [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Mapping | list):
            left -= len(inner)
            if left < 0:
                return True
            waiting.extend(inner.values() if isinstance(inner, Mapping) else inner)
    return False


_VALIDATORS: dict[int, tuple[Mapping[str, Any], Draft202012Validator]] = {}
MOST_VALIDATORS = 64


def _validator_of(schema: Mapping[str, Any]) -> Draft202012Validator:
    """The validator of a schema that nobody changes; the same for the same object, since making it is dear.

    The schema is kept beside it: while it lives no other object has its identity.
    """
    known = _VALIDATORS.get(id(schema))
    if known is not None and known[0] is schema:
        return known[1]
    validator = Draft202012Validator(dict(schema))
    if len(_VALIDATORS) >= MOST_VALIDATORS:
        _VALIDATORS.clear()
    _VALIDATORS[id(schema)] = (schema, validator)
    return validator


def take_image_key(params: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The picture's key, under whichever name it came, and the parameters with it under one name."""
    given = {name: params[name] for name in IMAGE_FIELDS if params.get(name) is not None}
    rest = {name: value for name, value in params.items() if name not in IMAGE_FIELDS}
    if len(set(given.values())) > 1:
        names = " and ".join(given)
        raise InvalidParameters(
            f"{names} name two different objects; one picture is needed.", hint="Send input_path alone."
        )
    if not given:
        return None, rest
    key = next(iter(given.values()))
    return key, {IMAGE_FIELDS[0]: key, **rest}


def describe_violation(error: ValidationError) -> dict[str, Any]:
    """One violation of a schema as the field, a sentence, what came and what is allowed."""
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(allowed))
        named = ", ".join(_cut(name) for name in unknown[:MOST_NAMES])
        more = len(unknown) - MOST_NAMES
        named += f" and {more} more" if more > 0 else ""
        return {
            "field": ".".join(filter(None, (path, _cut(unknown[0])))),
            "message": f"{named} is no parameter of this model; it has {', '.join(allowed)}.",
            "allowed": allowed,
        }
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return {
            "field": ".".join(filter(None, (path, missing))),
            "message": f"{missing} is missing.",
            "allowed": _allowed(error.schema.get("properties", {}).get(missing, {})),
        }
    return _problem(path, error.instance, _allowed(error.schema))


def _allowed(rule: Mapping[str, Any]) -> str:
    """What a schema's rule allows, in words."""
    if "enum" in rule:
        return "one of " + ", ".join(str(value) for value in rule["enum"])
    types = rule.get("type", "any value")
    words = " or ".join(
        _TYPE_WORDS.get(name, name) for name in ([types] if isinstance(types, str) else types)
    )
    limits = {
        "minimum": "at least {}",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "less than {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "pattern": "of the form {}",
    }
    if rule.get("minLength") == 1:
        limits["minLength"] = "not empty"
    told = [sentence.format(rule[limit]) for limit, sentence in limits.items() if limit in rule]
    return ", ".join([words, " and ".join(told)] if told else [words])


def _problem(field: str, value: Any, allowed: str) -> dict[str, Any]:
    shown = _cut(repr(value) if isinstance(value, str) else str(value))
    shown = shown.encode("utf-8", "replace").decode().replace("\x00", "\\x00")
    return {
        "field": field,
        "message": f"{field or 'the value'} is {shown}; allowed is {allowed}.",
        "got": shown,
        "allowed": allowed,
    }


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"


def _invalid(problems: list[dict[str, Any]]) -> InvalidParameters:
    return InvalidParameters(
        " ".join(problem["message"] for problem in problems),
        hint="GET /api/v1/models/{id} has the model's parameters.",
        details={"errors": problems},
    )


def _normalised(rule: Mapping[str, Any], value: Any) -> Any:
    # JSON Schema counts 2.0 as an integer; whoever reads the parameters should not have to.
    if rule.get("type") == "integer" and isinstance(value, float):
        return int(value)
    return value


def storable_text(text: str) -> str:
    """Text as Postgres can hold it, whatever a stranger's file or program put in; cut where it is endless."""
    plain = text.replace("\x00", "\\x00").encode("utf-8", "replace").decode()
    return plain if len(plain) <= MAX_TOLD_CHARACTERS else plain[:MAX_TOLD_CHARACTERS] + "…"


_UNSTORABLE = "text without NUL or broken characters, finite numbers, and at most 20 levels"


def find_unstorable(value: Any) -> tuple[str, Any] | None:
    """The first value, with its path, that JSON in Postgres cannot hold; None where all can be stored."""
    return next(_unstorable_values(value), None)


def _unstorable_values(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > MAX_DEPTH:
        yield path.split(".")[0], "nested too deeply"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if not _is_storable_text(str(name)):
                yield path, str(name)
            else:
                yield from _unstorable_values(inner, f"{path}.{name}" if path else str(name), depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _unstorable_values(inner, f"{path}.{index}" if path else str(index), depth + 1)
    elif (isinstance(value, str) and not _is_storable_text(value)) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        yield path, value


def _is_storable_text(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
