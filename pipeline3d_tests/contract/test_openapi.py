"""The OpenAPI document says what the service does: every answer is a documented one, and none is a fault."""

from __future__ import annotations

import os

import jsonschema
import pytest

from pipeline3d.api.app import create_app
from pipeline3d.api.examples import EXAMPLES, PROBLEM_EXAMPLE
from pipeline3d.settings import Settings
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY

EXAMPLES_EACH = int(os.environ.get("PIPELINE3D_FUZZ_EXAMPLES", "3"))
"""Questions to each operation; with 230 it is 20,000 in all."""


@pytest.fixture(scope="module")
def document():
    settings = {"database_url": "postgresql://x/y", "dagster_pg_url": "postgresql://x/y"}
    settings |= {"minio_endpoint": "h:1", "minio_access_key": "a", "minio_secret_key": "b" * 8}
    return create_app(Settings(_env_file=None, **settings)).openapi()


def operations(document):
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_says_what_it_is_for_and_how_it_refuses(document):
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation.get("description"), where
        assert "4XX" in operation["responses"], where
        assert "422" not in operation["responses"], where
        assert list(operation["responses"]["4XX"]["content"]) == ["application/problem+json"], where


def test_every_operation_has_a_name_of_its_own(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("method", "path"), sorted(EXAMPLES), ids=lambda part: part.strip("/"))
def test_the_examples_hold_to_the_forms(document, method, path):
    operation = document["paths"][path][method]

    def check(schema, value):
        jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)

    for status, examples in EXAMPLES[method, path].items():
        if status == "request":
            for value in examples.values():
                check(operation["requestBody"]["content"]["application/json"]["schema"], value)
        else:
            check(operation["responses"][status]["content"]["application/json"]["schema"], examples)


def test_every_body_has_an_example(document):
    bodies = {
        (method, path)
        for method, path, operation in operations(document)
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert bodies - {where for where, examples in EXAMPLES.items() if "request" in examples} == set()


def test_the_example_of_a_refusal_is_a_problem(document):
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(PROBLEM_EXAMPLE)


@pytest.mark.timeout(150 + 10 * EXAMPLES_EACH)
def test_whatever_is_asked_the_answer_is_documented_and_no_fault(api_url, rows):
    # here and not above: each process that collects tests would take a second for it
    import schemathesis

    from pipeline3d_tests.api_fuzzing import FuzzReport, fuzz_operation

    schema = schemathesis.openapi.from_url(f"{api_url}/openapi.json")
    report = FuzzReport()
    for operation in schema.get_all_operations():
        fuzz_operation(operation.ok(), {"x-api-key": API_KEY}, EXAMPLES_EACH, report)
    print(f"{report.requests} requests, answers by status: {sorted(report.statuses.items())}")
    assert report.requests > 5 * EXAMPLES_EACH
    assert report.complaints == []
