"""Each path is declared once and found in both spellings, whatever router has it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute, Match

from pipeline3d.api.app import create_app
from pipeline3d.api.routing import Router, add_routers
from pipeline3d.settings import Settings

Found = tuple[Match, Any, dict[str, Any]]


def find(routes: list[BaseRoute], method: str, path: str) -> Found:
    """How the first route that takes them matches, its function, and the parts of the path."""
    partial: Found = (Match.NONE, None, {})
    for route in routes:
        scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
        match, found = route.matches(scope)
        if match is Match.FULL:
            return match, found.get("endpoint"), found.get("path_params", {})
        if match is Match.PARTIAL and partial[0] is Match.NONE:
            partial = match, found.get("endpoint"), found.get("path_params", {})
    return partial


@pytest.fixture(scope="module")
def app() -> FastAPI:
    settings = {"database_url": "postgresql://x/y", "dagster_pg_url": "postgresql://x/y"}
    settings |= {"minio_endpoint": "h:1", "minio_access_key": "a", "minio_secret_key": "b" * 8}
    return create_app(Settings(_env_file=None, **settings))  # type: ignore[arg-type]


def test_every_path_of_the_schema_is_the_same_with_and_without_a_slash_at_its_end(app):
    operations = [
        (method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods
    ]
    assert len(operations) > 90
    for method, path in operations:
        plain = re.sub(r"\{.*?\}", "word", path).rstrip("/")  # no id: there is a shortcut for those
        match, endpoint, parts = find(app.routes, method, f"{plain}/")
        assert match is Match.FULL, (method, path)
        # an id that may have slashes inside takes the last one too, which its reader drops
        parts = {name: part.rstrip("/") for name, part in parts.items()}
        assert find(app.routes, method, plain or "/") == (match, endpoint, parts), (method, path)
        assert find(app.routes, "TRACE", f"{plain}/")[0] is Match.PARTIAL, path  # which is a 405


def test_no_path_is_declared_twice(app):
    declared = Counter(
        (method, route.path.rstrip("/"))
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if route.path is not None
    )
    assert [path for path, times in declared.items() if times > 1] == []


def functions_of(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    """What is called for a request: the function of a route, and all that it depends on."""
    if dependant.call is not None:
        yield dependant.call
    for needed in dependant.dependencies:
        yield from functions_of(needed)


def test_no_request_waits_for_a_thread_before_anything_is_asked(app):
    called = {
        function
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute)
        for function in functions_of(route.dependant)
    }
    assert len(called) > 100
    for function in called:  # what is no coroutine is sent to a thread, of which there are forty
        is_coroutine = iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)
        assert is_coroutine, function


@pytest.fixture(scope="module")
def things():
    router = Router(prefix="/things")

    @router.get("/")
    def in_all():
        """Declared with a slash."""

    @router.get("/{name}")
    def one(name: str):
        """Declared without."""

    @router.get("/{name}/files/{path:path}")
    def inside(name: str, path: str):
        """Whose end is anything."""

    app = FastAPI(openapi_url=None)
    add_routers(app, router)
    return app.routes


@pytest.mark.parametrize(
    ("path", "name", "parts"),
    [
        ("/things", "in_all", {}),
        ("/things/", "in_all", {}),
        ("/things/a", "one", {"name": "a"}),
        ("/things/a/", "one", {"name": "a"}),
        ("/things/a/files/b/c", "inside", {"name": "a", "path": "b/c"}),
        ("/things/a/files/b/c/", "inside", {"name": "a", "path": "b/c/"}),
        ("/things/a/files/", "inside", {"name": "a", "path": ""}),
    ],
)
def test_a_router_finds_both_spellings(things, path, name, parts):
    match, endpoint, found = find(things, "GET", path)
    assert (match, endpoint.__name__, found) == (Match.FULL, name, parts)
    assert find(things, "POST", path)[:2] == (Match.PARTIAL, endpoint)


@pytest.mark.parametrize(
    "path", ["", "/", "//things", "/things//", "/things/a//", "/thing", "/things/a/b", "/thingsa"]
)
def test_a_router_finds_nothing_else(things, path):
    assert find(things, "GET", path)[0] is Match.NONE
