"""Who may pass to the Dagster UI, and for how long.

The UI's own requests cannot carry the token against forged requests. What they change is let through only
where the browser itself says that a page of this service asks.
"""

from __future__ import annotations

import asyncio

from starlette.requests import HTTPConnection, Request

from pipeline3d.api.auth import authenticate, check_scope, find_user_of_session
from pipeline3d.api.callers import SAFE_METHODS, CredentialKind, find_credential, is_same_origin
from pipeline3d.api.dagster_proxy import is_plain_path
from pipeline3d.api.services import Services
from pipeline3d.errors import NotYours, Pipeline3dError, RequestError, TransientFailure
from pipeline3d.values import Scope

LOOK_AGAIN_S = 30.0
"""So long a subscription may outlive its session or key."""


async def let_in(services: Services, connection: HTTPConnection, scope: Scope) -> None:
    """Return where the caller may pass. Raises NotAuthenticated, NotYours, RequestError."""
    if not is_plain_path(connection.scope.get("raw_path") or b""):
        raise RequestError("The path has steps up or encoded slashes in it.", code="bad_path")
    credential = find_credential(connection)
    if credential is None or credential.kind is CredentialKind.KEY:
        account = await authenticate(services, connection)
    else:
        account = await find_user_of_session(services, credential)
        if changes_something(connection) and not is_same_origin(connection, services.settings):
            raise NotYours("Another site may not use this session.", code="csrf_failed")
    check_scope(account, scope)


def changes_something(connection: HTTPConnection) -> bool:
    """Whether a request may change something: also a GET, where a GraphQL statement comes with it."""
    if connection.scope["type"] == "websocket":
        return True
    graphql = connection.url.path.rstrip("/").endswith("/graphql") and bool(connection.url.query)
    return connection.scope["method"] not in SAFE_METHODS or graphql


def is_page_view(request: Request) -> bool:
    """Whether a person opens a page, who can sign in."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


async def wait_until_shut_out(services: Services, connection: HTTPConnection, scope: Scope) -> None:
    """Return when the caller may no longer pass: the key was revoked, the session has ended."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        try:
            await let_in(services, connection, scope)
        except TransientFailure:
            continue  # a database that is away for a moment shuts nobody out
        except Pipeline3dError:
            return
