"""Asks an application what its own OpenAPI document allows, and what it does not, and judges the answers.

For a moment by default, and for long with PIPELINE3D_FUZZ_EXAMPLES: see `contract/test_openapi.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

NOT_HTTP = (400, "Invalid HTTP request received.")
"""What uvicorn answers to what is no HTTP, before any application is asked: headers can be made so."""
WITHOUT_A_CHOICE = 2
"""So often an operation is asked that takes neither parameters nor a body."""
NOT_BUILT = 501
"""The one 5xx that is an answer: a model that cannot run here, with the reason."""


@dataclass
class FuzzReport:
    """What was asked and what was wrong with the answers."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


def fuzz_operation(operation: Any, headers: Mapping[str, str], examples: int, report: FuzzReport) -> None:
    """Ask one operation `examples` times, valid and invalid by turns; note what is wrong in the report."""
    has_a_choice = bool(operation.body) or any(operation.iter_parameters())
    # made once: to read the forms of an operation takes longer than to ask it
    valid_and_invalid = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]

    @hypothesis.settings(
        max_examples=examples if has_a_choice else min(examples, WITHOUT_A_CHOICE),
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=hypothesis.strategies.one_of(valid_and_invalid))
    def ask(case: Any) -> None:
        answer = case.call(headers=dict(headers), allow_redirects=False, timeout=30)
        report.requests += 1
        report.statuses[answer.status_code] += 1
        for complaint in complaints_about(case, answer):
            report.complaints.append(complaint)

    # nothing invalid can be made of an operation without parameters
    with suppress(hypothesis.errors.Unsatisfiable):
        ask()


def complaints_about(case: Any, answer: Any) -> Iterator[str]:
    """What is wrong with an answer: a fault of the server, or one that is not documented."""
    if (answer.status_code, answer.text) == NOT_HTTP:
        return
    if answer.status_code >= 500 and answer.status_code != NOT_BUILT:
        yield f"{answer.status_code} {case.as_curl_command()} {answer.text[:300]}"
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    try:
        case.validate_response(answer, checks=checks)
    except (Failure, FailureGroup) as failure:
        found = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
        for one in found:
            asked = f"{case.as_curl_command()} {answer.status_code} {answer.text[:300]}"
            yield f"{type(one).__name__}: {one} {asked}"
