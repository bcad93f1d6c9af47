"""The list of codes is the list of codes: everything the source can answer is explained, and nothing else."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from pipeline3d import errors
from pipeline3d.api.problem_codes import WHERE, load_problem_codes
from pipeline3d.api.problems import STATUS_BY_CODE

ROOT = Path(__file__).parents[2]
SOURCES = [path for base in ("pipeline3d", "resources") for path in (ROOT / base).rglob("*.py")]
ELSEWHERE = {
    # what only a command, the client or the start of a server says
    *("pipeline3d/local", "pipeline3d/client", "pipeline3d/launch", "pipeline3d/database"),
    *("pipeline3d/cli.py", "pipeline3d/running.py", "pipeline3d/demo_requests.py", "pipeline3d/tracing.py"),
    *("pipeline3d/job_commands.py", "pipeline3d/operating.py", "pipeline3d/account_commands.py"),
    *("pipeline3d/requests/operations.py", "pipeline3d/model_weights.py"),
}
CLASSES_ELSEWHERE = {"SettingsError", "ServerFailure"}
NOT_CODES = {"TOO_MANY_COMPLAINTS"}
"""Texts of checks that happen to be called so."""


def codes_in(path):
    """(code, the class or function that is called with it) of one file."""
    text = path.read_text(encoding="utf-8")
    if not re.search(r"\bcode\b", text):
        return  # to parse every file takes seconds
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield keyword.value.value, name
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
                if any(getattr(target, "id", None) == "code" for target in targets):
                    value = getattr(line, "value", None)
                    if isinstance(value, ast.Constant):
                        yield value.value, node.name


@pytest.fixture(scope="module")
def known():
    """What the source knows: the callers of each code."""
    found = defaultdict(set)
    for path in SOURCES:
        place = str(path.relative_to(ROOT))
        if not any(place.startswith(prefix) for prefix in ELSEWHERE):
            for code, name in codes_in(path):
                if isinstance(code, str) and name not in CLASSES_ELSEWHERE and code not in NOT_CODES:
                    found[code].add(name)
    return found


def test_every_code_that_can_be_answered_is_explained(known):
    explained = {code.code for code in load_problem_codes()}
    assert sorted(set(known) - explained) == []


def test_no_code_is_explained_that_nobody_gives(known):
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for base in ("pipeline3d", "resources", "wrappers")
        for path in (ROOT / base).rglob("*")
        if path.suffix in (".py", ".json") and path.name != "problem_codes.json"
    )
    stale = [code.code for code in load_problem_codes() if f'"{code.code}"' not in text]
    assert stale == []


def test_a_code_belongs_to_the_class_that_is_raised_with_it(known):
    for code in load_problem_codes():
        callers = {name for name in known.get(code.code, ()) if hasattr(errors, name)}
        if callers:
            assert code.kind in callers, f"{code.code} is said to be {code.kind}, raised as {callers}"


def test_every_status_that_is_decided_for_a_code_is_of_a_code_that_exists():
    assert set(STATUS_BY_CODE) - {code.code for code in load_problem_codes()} == set()


def test_every_explanation_says_what_to_do():
    for code in load_problem_codes():
        assert code.where in WHERE
        for text in (code.meaning, code.remedy):
            assert text.endswith("."), code
            assert len(text) < 200, code
        assert (code.status is None) == (code.where == "job"), code


def test_the_page_of_a_problem_is_found_by_its_type(api):
    problem = api.http.get("/api/v1/jobs/00000000-0000-0000-0000-000000000001").json()
    assert problem["type"] == "/problems/unknown_job"
    answer = api.http.get(problem["type"])
    assert answer.status_code == 307
    assert answer.headers["location"] == "/problems#unknown_job"
    page = api.http.get(answer.headers["location"])
    assert '<tr id="unknown_job">' in page.text
    assert "script" not in page.headers["content-security-policy"]


def test_programs_can_read_the_list(api):
    listed = {entry["code"]: entry for entry in api.http.get("/api/v1/problems").json()}
    assert listed["unknown_job"]["status"] == 404
    assert listed["quota_exceeded"]["status"] == 429
    assert listed["no_clear_object"] == {
        "code": "no_clear_object",
        "where": "job",
        "status": None,
        "meaning": "There is nothing to cut out, or the cut-out cannot be trusted.",
        "remedy": "Use a photo with one object on a plain background.",
    }
