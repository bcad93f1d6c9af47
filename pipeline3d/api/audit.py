"""Writing the audit log from a request: who asks, with what, from where.

`audit` writes a line by itself; `build_line` makes one for a statement that writes it with its change.
What only reads writes no line.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from starlette.requests import HTTPConnection

from pipeline3d.api.callers import client_address
from pipeline3d.api.services import Services
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.audit import Action, Line, write_line

_connection: ContextVar[HTTPConnection | None] = ContextVar("connection", default=None)


def note_connection(connection: HTTPConnection) -> None:
    """Remember, for the rest of this request, where it comes from."""
    _connection.set(connection)


def build_line(
    services: Services,
    account: Account | None,
    action: Action,
    subject: str = "",
    details: Mapping[str, Any] | None = None,
) -> Line:
    """A line about what this request does. `account` is None where nobody is known yet."""
    connection = _connection.get()
    state = {} if connection is None else connection.scope.get("state", {})
    return Line(
        action=action,
        subject=subject,
        actor_id=None if account is None else account.id,
        actor="" if account is None else account.username,
        credential=_credential_of(account),
        address="" if connection is None else client_address(connection, services.settings),
        request_id=str(state.get("request_id", "")),
        details=details or {},
    )


async def audit(
    services: Services,
    account: Account | None,
    action: Action,
    subject: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write a line: what was done, and to what (`job:<id>`, `share:<id>`). Never give it a secret."""
    await services.execute(write_line(build_line(services, account, action, subject, details)))


def _credential_of(account: Account | None) -> str:
    if account is None:
        return ""
    if account.session_id is not None:
        return f"session:{account.session_id}"
    return "" if account.key_id is None else f"key:{account.key_id}"
