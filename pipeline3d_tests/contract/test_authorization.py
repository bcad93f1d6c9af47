"""Every operation against every kind of caller: nothing opens without the scope that the table gives it.

An operation that is not in the table fails the test, so that none is added without a decision of who may call
it. That the right scope does open it is part of the table.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from pipeline3d.api.app import create_app
from pipeline3d.database.tables import api_keys
from pipeline3d.requests import accounts
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d.settings import Settings
from pipeline3d.values import Scope
from pipeline3d_tests.integration.requests.database_fixtures import PASSWORD, USERNAME

NOBODY = "00000000-0000-7000-8000-000000000000"
PAGE = {"sec-fetch-site": "same-origin"}

PUBLIC = re.compile(
    r"GET (/|/health|/ready|/api/v1/problems|/api/v1/models(/.*)?|/previews/.*|/s/.*)"
    r"|GET /api/models/storefront(\.glb|/.*)"
    r"|(GET|POST) /api/v1/auth/session"
    r"|POST /api/v1/auth/login"
)
"""What opens without a key: what shows nothing of anybody, and what has a password, token or signature of its
own in it."""
OTHERWISE_SIGNED = re.compile(r"POST /api/webhooks/.*|POST /(transcribe|render)")
"""Callers of earlier systems, who prove themselves by a secret of the installation, which here has none."""
KNOWN = re.compile(r"GET /api/v1/(users|auth)/me|DELETE /api/v1/auth/session")
"""Anybody who is somebody."""
SCOPES = (
    (Scope.ADMIN, re.compile(r"\w+ /api/v1/admin/.*")),
    (Scope.KEYS_WRITE, re.compile(r"\w+ /api/v1/(keys|auth/sessions)(/.*)?|POST /api/v1/auth/password")),
    (Scope.WEBHOOKS_WRITE, re.compile(r"\w+ /api/v1/(webhooks(/.*)?|jobs/[^/]+/webhooks)")),
    (Scope.SHARES_WRITE, re.compile(r"(POST|DELETE) /api/v1/jobs/[^/]+/shares(/.*)?")),
    (Scope.JOBS_WRITE, re.compile(r"(POST|PATCH|DELETE) /api/v1/(jobs|uploads|image-jobs)(/.*)?")),
    (Scope.JOBS_WRITE, re.compile(r"POST /api/models/create")),
    (Scope.JOBS_READ, re.compile(r"GET /api/v1/(jobs|uploads|image-jobs|events|products)(/.*)?")),
    (Scope.JOBS_READ, re.compile(r"GET /api/models/(status|result|product)/.*")),
)
"""Of the scopes the first that fits."""
BESIDE_THE_DOCUMENT = (
    "GET /api/v1/auth/me",
    f"GET /api/v1/jobs/{NOBODY}/artifacts.zip",
    "POST /api/v1/image-jobs/upscale",
)
"""Other spellings that the document leaves out, beside a slash more or less at the end."""
CHANGES = ("POST", "PATCH", "DELETE")


def needs(operation: str) -> Scope | None:
    """The scope that opens an operation; None for one that every key opens."""
    if KNOWN.fullmatch(operation):
        return None
    found = [scope for scope, which in SCOPES if which.fullmatch(operation)]
    assert found, f"{operation} is in no row of the table: who may call it?"
    return found[0]


@functools.cache
def all_operations() -> list[str]:
    """Method and path of whatever the document has, with ids that nothing has, in all spellings."""
    settings = {"database_url": "postgresql://x/y", "dagster_pg_url": "postgresql://x/y"}
    settings |= {"minio_endpoint": "h:1", "minio_access_key": "a", "minio_secret_key": "b" * 8}
    paths: dict[str, Any] = create_app(Settings(_env_file=None, **settings)).openapi()["paths"]  # type: ignore[arg-type]
    described = [
        f"{method.upper()} {re.sub('{delivery_id}', '1', path)}"
        for path, methods in paths.items()
        for method in methods
    ]
    described = [re.sub(r"{\w+_id}", NOBODY, operation) for operation in described]
    described = [re.sub(r"{\w+}", "x", operation) for operation in described]
    return [*described, *BESIDE_THE_DOCUMENT]


def other_spelling(operation: str) -> str:
    """The same path with a slash at its end, or without the one that it has."""
    return operation.removesuffix("/") if operation.endswith("/") else f"{operation}/"


@dataclass
class Callers:
    """Asks as different callers."""

    http: httpx.Client
    keys: dict[frozenset[Scope], str]
    past: dict[str, str]
    session: httpx.Client
    csrf: str

    def ask(self, operation: str, headers: dict[str, str]) -> tuple[int, str | None]:
        """Status and code of the answer."""
        return self._ask(self.http, operation, headers)

    def ask_as_page(self, operation: str, headers: dict[str, str]) -> tuple[int, str | None]:
        """The same with the cookie of a session."""
        return self._ask(self.session, operation, headers)

    def _ask(self, http: httpx.Client, operation: str, headers: dict[str, str]) -> tuple[int, str | None]:
        method, path = operation.split(" ")
        # a list is no body of ours: whoever is let in is refused after that, and changes nothing
        body = {"json": []} if method in CHANGES else {}
        answer = http.request(method, path, headers=headers, **body)  # type: ignore[arg-type]
        is_problem = answer.headers.get("content-type") == "application/problem+json"
        return answer.status_code, answer.json()["code"] if is_problem else None


@pytest.fixture
def callers(api, rows, api_url) -> Iterator[Callers]:
    """The service's first user with keys of each scope, ended ones, and a session."""
    made = {}
    for scopes in [frozenset({scope}) for scope in Scope] + [frozenset(Scope) - {scope} for scope in Scope]:
        key = made[scopes] = accounts.generate_api_key()
        rows.run(accounts.create_api_key(rows.user_id, key, name="matrix", scopes=scopes))
    past = {}
    for name, ended in (
        ("revoked", {"revoked_at": seconds_from_now(-1)}),
        ("expired", {"expires_at": seconds_from_now(-1)}),
    ):
        key = past[name] = accounts.generate_api_key()
        rows.run(accounts.create_api_key(rows.user_id, key, name=name))
        rows.run(api_keys.update().where(api_keys.c.name == name).values(**ended))
    with httpx.Client(base_url=api_url, timeout=30) as http, httpx.Client(base_url=api_url) as session:
        signed_in = session.post("/api/v1/auth/session", json={"username": USERNAME, "password": PASSWORD})
        yield Callers(http, made, past, session, signed_in.json()["csrf_token"])


def test_no_operation_opens_without_its_scope(callers):
    faults = []

    def expect(operation, who, answer, wanted):
        if answer != wanted:
            faults.append(f"{operation} as {who}: {answer}, not {wanted}")

    for operation in all_operations():
        if PUBLIC.fullmatch(operation) or OTHERWISE_SIGNED.fullmatch(operation):
            continue
        for spelling in (operation, other_spelling(operation)):
            answer = callers.ask(spelling, {})
            # a spelling of an earlier system may not be there at all
            if answer[0] != 404 or spelling == operation:
                expect(spelling, "nobody", answer, (401, "not_authenticated"))
        for who, key in (("a stranger", "p3d_made_up"), *callers.past.items()):
            expect(operation, who, callers.ask(operation, {"x-api-key": key}), (403, "invalid_api_key"))
        if operation.split(" ")[0] in CHANGES:
            for who, headers in (
                ("a page without its token", PAGE),
                ("another site", {"sec-fetch-site": "cross-site", "x-csrf-token": callers.csrf}),
            ):
                expect(operation, who, callers.ask_as_page(operation, headers), (403, "csrf_failed"))
        if (scope := needs(operation)) is not None:
            every_other = callers.keys[frozenset(Scope) - {scope}]
            answer = callers.ask(operation, {"x-api-key": every_other})
            expect(operation, f"who may all but {scope}", answer, (403, "missing_scope"))
    assert faults == []


def test_the_scope_of_an_operation_is_enough_for_it(callers):
    for operation in all_operations():
        if not (PUBLIC.fullmatch(operation) or OTHERWISE_SIGNED.fullmatch(operation)) and (
            scope := needs(operation)
        ):
            status, code = callers.ask(operation, {"x-api-key": callers.keys[frozenset({scope})]})
            assert status not in (401, 403), (operation, scope, code)
            assert status < 500, (operation, code)


def test_what_is_public_shows_nothing_more_to_whom_it_does_not_know(callers):
    """A wrong key is no reason to refuse what needs none, and none to show more."""
    for operation in filter(PUBLIC.fullmatch, all_operations()):
        if operation.startswith("GET") and "/s/" not in operation:
            asked = callers.ask(operation, {})
            assert callers.ask(operation, {"x-api-key": "p3d_made_up"}) == asked, operation
            assert asked[0] < 500, operation


def test_who_proves_themselves_by_a_secret_is_refused_where_there_is_none(callers):
    for operation in filter(OTHERWISE_SIGNED.fullmatch, all_operations()):
        status, _ = callers.ask(operation, {"authorization": "Bearer x", "x-shopify-hmac-sha256": "x"})
        assert status in (401, 403, 501), (operation, status)
