"""A user's own keys. A key never allows more than what it was made or changed with, nor for longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.access_forms import KeyChange, KeyCreate, KeyMade, KeyRead
from pipeline3d.api.audit import build_line
from pipeline3d.api.limits import count_anew, store_counted
from pipeline3d.api.services import Services
from pipeline3d.errors import InvalidParameters, NotYours, RequestError
from pipeline3d.requests import accounts, keys
from pipeline3d.requests.accounts import LOGIN_KEY_NAME, Account
from pipeline3d.requests.audit import Action
from pipeline3d.requests.permissions import effective_scopes
from pipeline3d.requests.quotas import LIMITS, NO_LIMITS
from pipeline3d.values import Scope

MOST_KEYS = 200
"""Of one user; keys of logins, which end by themselves, do not count."""


async def list_keys(services: Services, account: Account, *, with_ended: bool) -> list[KeyRead]:
    """The caller's keys."""
    rows = await services.all(keys.list_keys(account.id, with_ended=with_ended))
    return [present_key(row, account) for row in rows]


async def create_key(services: Services, account: Account, body: KeyCreate) -> KeyMade:
    """A new key, whose secret is in the answer and nowhere else."""
    _check_unlimited(account)
    _check_name(body.name)
    scopes = _check_scopes(account, body.scopes or sorted(account.scopes))
    if "expires_in_s" in body.model_fields_set:
        _check_end(account, _end_of(body.expires_in_s))
    key = accounts.generate_api_key()
    values = {"name": body.name, "scopes": scopes, **{name: getattr(body, name) for name in LIMITS}}
    line = build_line(services, account, Action.KEY_CREATED, details={"name": body.name, "scopes": scopes})
    storing = keys.store_key(
        account.id,
        key,
        values,
        expires_s=body.expires_in_s,
        line=line,
        ends_by=account.key_ends_at,
        at_most=MOST_KEYS,
    )
    made = await store_counted(services, account.id, storing)
    if made is None:
        raise RequestError(
            f"There are {MOST_KEYS} keys that work, which is as many as there may be.",
            code="too_many_keys",
            hint="Revoke some that are not used.",
        )
    return KeyMade(**present_key(made, account).model_dump(), api_key=key)


async def rotate_key(services: Services, account: Account, key_id: UUID, grace_s: int) -> KeyMade:
    """A new secret for a key; the present one works for `grace_s` seconds more."""
    row = await _read_own(services, account, key_id)
    _check_power(account, row)
    key = accounts.generate_api_key()
    line = build_line(services, account, Action.KEY_ROTATED, details={"grace_s": grace_s})
    rotated = await services.first(
        keys.rotate_key(key_id, key, grace_s=grace_s, line=line, ends_by=account.key_ends_at)
    )
    services.access.forget()
    if rotated is None:
        raise RequestError(
            "The key opens nothing any more, so it cannot be rotated.",
            code="key_ended",
            hint="Make a new key.",
        )
    row = await _read_own(services, account, key_id)
    return KeyMade(**present_key(row, account).model_dump(), api_key=key)


async def change_key(services: Services, account: Account, key_id: UUID, body: KeyChange) -> KeyRead:
    """Change what was sent of a key."""
    _check_unlimited(account)
    row = await _read_own(services, account, key_id)
    _check_power(account, row)
    sent = body.model_dump(exclude_unset=True, mode="json")
    if "scopes" in sent:
        sent["scopes"] = _check_scopes(account, body.scopes)
    if "name" in sent:
        _check_name(body.name, row.name)
    if "expires_in_s" in sent:
        _check_end(account, _end_of(body.expires_in_s))
    line = build_line(services, account, Action.KEY_CHANGED, details=sent)
    await services.first(keys.change_key(key_id, sent, line, ends_by=account.key_ends_at))
    if "monthly_cost_units" in sent:
        await count_anew(services, account.id, key_id)
    services.access.forget()
    return present_key(await _read_own(services, account, key_id), account)


async def revoke_key(services: Services, account: Account, key_id: UUID) -> KeyRead:
    """End a key at once; one that had ended stays as it is."""
    await _read_own(services, account, key_id)
    await services.first(keys.revoke_key(key_id, build_line(services, account, Action.KEY_REVOKED)))
    services.access.forget()
    return present_key(await _read_own(services, account, key_id), account)


def present_key(row: Row[Any], account: Account | None = None) -> KeyRead:
    """A key's row as its wire form."""
    values = {name: value for name, value in row._mapping.items() if name != "user_id"}
    known = [scope for scope in values.pop("scopes") if scope in set(Scope)]
    is_current = account is not None and account.key_id == row.id
    return KeyRead(**values, scopes=known, current=is_current)


async def _read_own(services: Services, account: Account, key_id: UUID) -> Row[Any]:
    row = await services.first(keys.read_key(key_id, account.id))
    if row is None:
        raise RequestError(f"You have no key {key_id}.", code="unknown_key")
    return row


def _check_scopes(account: Account, wanted: list[Scope]) -> list[str]:
    beyond = sorted(set(wanted) - account.scopes)
    if beyond:
        raise NotYours(
            f"You cannot give what you do not have: {', '.join(beyond)}.",
            code="scope_not_yours",
            hint=f"Your own scopes are {', '.join(sorted(account.scopes))}.",
        )
    return sorted(set(wanted))


def _check_power(account: Account, row: Row[Any]) -> None:
    """Refuse to hand out, or change, a key that may do more than the one that asks for it, or for longer."""
    _check_scopes(account, sorted(effective_scopes(account.role, row.scopes)))
    _check_end(account, row.expires_at)
    if row.id != account.key_id:
        _check_unlimited(account)


def _end_of(expires_in_s: int | None) -> datetime | None:
    return None if expires_in_s is None else datetime.now(UTC) + timedelta(seconds=expires_in_s)


def _check_end(account: Account, ends_at: datetime | None) -> None:
    """Refuse what would outlive the key that asks for it. Sessions are begun with a password: they may."""
    latest = account.key_ends_at
    if latest is not None and (ends_at is None or ends_at > latest):
        message = (
            f"Your own key ends at {latest.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}; this one would last longer."
        )
        raise NotYours(
            message,
            code="end_not_yours",
            hint="Let it end by then, or use a session or a key that lasts longer.",
            details={"errors": [{"field": "expires_in_s", "message": message}]},
        )


def _check_name(name: str, former: str = "") -> None:
    """Keys of logins are known by their name: they do not count as made, and end with the password."""
    if name != former and LOGIN_KEY_NAME in (name, former):
        message = f"The name {LOGIN_KEY_NAME!r} is for keys that a login makes, which keep it."
        raise InvalidParameters(
            message,
            code="reserved_name",
            hint="Choose another name, or make a key of your own.",
            details={"errors": [{"field": "name", "message": message}]},
        )


def _check_unlimited(account: Account) -> None:
    """Refuse what would let a key come around its own limits."""
    if account.key_limits != NO_LIMITS:
        raise NotYours(
            "A key that has limits of its own cannot make or change keys.",
            code="limited_key",
            hint="Use a session, or a key without limits.",
        )
