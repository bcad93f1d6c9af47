"""The operators' commands for users and keys, on the database itself: they work while the API is down.

What they change is written to the audit log under the name of the person at the terminal.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from pipeline3d.errors import RequestError
from pipeline3d.explained_errors import explains_errors
from pipeline3d.operating import parse_duration
from pipeline3d.values import Role, Scope

if TYPE_CHECKING:
    from sqlalchemy import Engine, Executable, Row

    from pipeline3d.requests.audit import Action, Line

MIN_PASSWORD = 10
NONE = "-"


@click.group()
def user() -> None:
    """Add, list and change the users of the API."""


@user.command("add")
@click.argument("name")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.MEMBER.value, show_default=True
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--compatibility", type=click.Choice(["tcc"]), help="Answer in the form of that system.")
@explains_errors
def add_user(name: str, role: str, password_stdin: bool, compatibility: str | None) -> None:
    """Add a user. The password is asked for, or read from standard input."""
    from pipeline3d.requests import accounts, users
    from pipeline3d.requests.audit import Action

    password = sys.stdin.readline().rstrip("\n") if password_stdin else _ask_password()
    if len(password) < MIN_PASSWORD:
        raise click.UsageError(f"A password has at least {MIN_PASSWORD} characters.")
    values = {"role": role, "compatibility": compatibility}
    line = _line(Action.USER_CREATED, details={"username": name, "role": role})
    added = _run(_connect(), users.add_user(name, accounts.hash_password(password), values, line))
    if not added:
        raise RequestError(f"There is a user {name!r} already.", code="user_exists")
    click.echo(f"user {name} was added as {role}")


@user.command("list")
@explains_errors
def list_users() -> None:
    """Show all users, their roles and limits."""
    from pipeline3d.requests import users

    rows = _run(_connect(), users.list_users(limit=100_000))
    head = ("name", "role", "active", "answers as", "open jobs", "requests/min", "units/month")
    _print_table(
        head,
        [
            (
                *(row.username, row.role, "yes" if row.is_active else "no", row.compatibility),
                *(row.max_open_jobs, row.requests_per_minute, row.monthly_cost_units),
            )
            for row in rows
        ],
    )


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@explains_errors
def change_role(name: str, role: str) -> None:
    """Give a user another role; it counts at once, also for keys that exist."""
    _change(name, {"role": role})
    click.echo(f"user {name} is {role} now")


@user.command("deactivate")
@click.argument("name")
@explains_errors
def deactivate(name: str) -> None:
    """End all keys and sessions of a user, who cannot sign in any more. The jobs stay."""
    _change(name, {"is_active": False})
    click.echo(f"user {name} is deactivated; all keys and sessions have ended")


@user.command("activate")
@click.argument("name")
@explains_errors
def activate(name: str) -> None:
    """Let a user who was deactivated sign in again. Earlier keys stay revoked."""
    _change(name, {"is_active": True})
    click.echo(f"user {name} is active")


@user.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@explains_errors
def change_password(name: str, password_stdin: bool) -> None:
    """Give a user another password; ends the user's sessions and the keys of logins."""
    from pipeline3d.requests import accounts

    password = sys.stdin.readline().rstrip("\n") if password_stdin else _ask_password()
    if len(password) < MIN_PASSWORD:
        raise click.UsageError(f"A password has at least {MIN_PASSWORD} characters.")
    _change(name, {"password_hash": accounts.hash_password(password)}, told={"password": "changed"})
    click.echo(f"user {name} has another password; all sessions have ended")


@click.group()
def key() -> None:
    """Create, list and revoke API keys."""


@key.command("create")
@click.argument("username")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice([scope.value for scope in Scope]))
@click.option("--expires", type=parse_duration, help="Such as 90d; never, if not given.")
@explains_errors
def create_key(username: str, name: str, scopes: tuple[str, ...], expires: float | None) -> None:
    """Create a key and print it this once. Without --scope it may do all that the role allows."""
    from pipeline3d.requests import accounts, keys
    from pipeline3d.requests.audit import Action
    from pipeline3d.requests.permissions import SCOPES_OF_ROLE

    engine = _connect()
    owner = _find_user(engine, username)
    allowed = SCOPES_OF_ROLE[Role(owner.role)]
    if beyond := sorted(set(scopes) - {scope.value for scope in allowed}):
        raise RequestError(
            f"A user who is {owner.role} cannot have {', '.join(beyond)}.", code="scope_not_yours"
        )
    secret = accounts.generate_api_key()
    values = {"name": name, "scopes": sorted(scopes)}
    line = _line(Action.KEY_CREATED, details={**values, "user": username})
    _run(engine, keys.store_key(owner.id, secret, values, expires_s=expires, line=line))
    click.echo(secret)


@key.command("list")
@click.argument("username")
@click.option("--ended", is_flag=True, help="Also those that open nothing any more.")
@explains_errors
def list_keys(username: str, ended: bool) -> None:
    """Show the keys of a user; never the keys themselves."""
    from pipeline3d.requests import keys

    engine = _connect()
    rows = _run(engine, keys.list_keys(_find_user(engine, username).id, with_ended=ended))
    head = ("id", "name", "begins with", "scopes", "ends", "last used", "revoked")
    _print_table(
        head,
        [
            (
                *(row.id, row.name, row.prefix, ",".join(row.scopes) or "all of the role"),
                *(_minute(row.expires_at), _minute(row.last_used_at), _minute(row.revoked_at)),
            )
            for row in rows
        ],
    )


@key.command("revoke")
@click.argument("key_id", type=click.UUID)
@explains_errors
def revoke_key(key_id: UUID) -> None:
    """Revoke a key: within a second it opens nothing any more."""
    from pipeline3d.requests import keys
    from pipeline3d.requests.audit import Action

    engine = _connect()
    if not _run(engine, keys.read_key(key_id)):
        raise RequestError(f"There is no key {key_id}.", code="unknown_key")
    revoked = _run(engine, keys.revoke_key(key_id, _line(Action.KEY_REVOKED)))
    click.echo(f"key {key_id} " + ("is revoked" if revoked else "was revoked before"))


COMMANDS = (user, key)


def _change(name: str, values: dict[str, Any], *, told: dict[str, Any] | None = None) -> None:
    from pipeline3d.requests import users
    from pipeline3d.requests.audit import Action

    engine = _connect()
    found = _find_user(engine, name)
    line = _line(Action.USER_CHANGED, f"user:{found.id}", details=told or values)
    with engine.begin() as connection:
        for statement in (users.change_user(found.id, values, line), *users.end_access(found.id, values)):
            connection.execute(statement)


def _find_user(engine: Engine, name: str) -> Row[Any]:
    from pipeline3d.requests import accounts

    found = _run(engine, accounts.find_user(name))
    if not found:
        raise RequestError(f"There is no user {name!r}.", code="unknown_user")
    return found[0]


def _line(action: Action, subject: str = "", *, details: dict[str, Any] | None = None) -> Line:
    from pipeline3d.requests.audit import Line

    return Line(
        action=action, subject=subject, actor=getpass.getuser(), credential="terminal", details=details or {}
    )


def _run(engine: Engine, statement: Executable) -> Sequence[Row[Any]]:
    with engine.begin() as connection:
        result = connection.execute(statement)
        return result.all() if result.returns_rows else []


def _connect() -> Engine:
    from pipeline3d.database.engines import create_sync_engine
    from pipeline3d.installation import read_installation, require

    settings = read_installation().settings
    return create_sync_engine(require(settings.database_url, "DATABASE_URL"))


def _ask_password() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def _minute(moment: Any) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%d %H:%M")


def _print_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(NONE if value is None else str(value) for value in row))
    # a table that is read by another program is not cut to the width of a terminal
    Console(width=None if sys.stdout.isatty() else 250, soft_wrap=True).print(table)
