"""The OpenAPI document: what FastAPI finds out by itself, completed by what holds for every route.

Every refusal is a problem document (RFC 9457), whichever route it comes from; bodies have examples.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pipeline3d.api.bodies import Problem
from pipeline3d.api.examples import EXAMPLES, PROBLEM_EXAMPLE
from pipeline3d.api.problems import PROBLEM_TYPE

METHODS = frozenset({"get", "put", "post", "delete", "patch"})
PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}
REFUSALS = {
    "4XX": "What is wrong with the request.",
    "501": "The model cannot run on this installation; `detail` has the reason.",
    "503": "Something that this service needs does not answer. It may work soon: see Retry-After.",
}
JSON = "application/json"


def use_described_schema(app: FastAPI) -> None:
    """Let the application answer /openapi.json with the completed document, made at the first question."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of all routes that are meant for callers."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=app.servers,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas.update(_describe_problem())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in METHODS:
                _add_refusals(operation)
                _add_examples(operation, EXAMPLES.get((method, path), {}))
    return document


def _describe_problem() -> dict[str, Any]:
    """The form of a problem, and the forms inside it."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for field in schema["properties"].values():
        field.pop("default", None)  # a null, which the rest of the document leaves out
    return {**schema.pop("$defs"), "Problem": schema}


def _add_refusals(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own form of it, which no route of ours answers
    for status, description in REFUSALS.items():
        content = {PROBLEM_TYPE: {"schema": PROBLEM_SCHEMA, "example": PROBLEM_EXAMPLE}}
        documented = responses.get(status)
        if documented is None:
            responses[status] = {"description": description, "content": content}
        else:  # one that the route has a form of its own for, besides the problem
            documented.setdefault("content", {}).update(content)


def _add_examples(operation: dict[str, Any], examples: dict[str, Any]) -> None:
    """Name the examples of the body and of the answers."""
    if "request" in examples:
        operation["requestBody"]["content"][JSON]["examples"] = {
            summary: {"summary": summary, "value": value} for summary, value in examples["request"].items()
        }
    for status, value in examples.items():
        if status != "request":
            operation["responses"][status]["content"][JSON]["example"] = value
