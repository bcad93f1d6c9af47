"""API keys of one's own."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from fastapi import Query

from pipeline3d.api import keys
from pipeline3d.api.access_forms import KeyChange, KeyCreate, KeyMade, KeyRead, KeyRotate
from pipeline3d.api.auth import KeyKeeper
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices

router = Router(prefix=f"{API_PREFIX}/keys", tags=["accounts"])


@router.get("")
async def list_keys(
    account: KeyKeeper,
    services: AppServices,
    ended: bool = Query(False, description="Also those that are revoked or past their end."),
) -> list[KeyRead]:
    """One's own keys, the newest first."""
    return await keys.list_keys(services, account, with_ended=ended)


@router.post("", status_code=HTTPStatus.CREATED)
async def create_key(body: KeyCreate, account: KeyKeeper, services: AppServices) -> KeyMade:
    """A new key; `api_key` is shown this once."""
    return await keys.create_key(services, account, body)


@router.post("/{key_id}/rotate")
async def rotate_key(
    key_id: UUID,
    account: KeyKeeper,
    services: AppServices,
    body: KeyRotate | None = None,
) -> KeyMade:
    """A new secret for the key, shown this once; the present one works for `grace_s` seconds more."""
    return await keys.rotate_key(services, account, key_id, (body or KeyRotate()).grace_s)


@router.patch("/{key_id}")
async def change_key(key_id: UUID, body: KeyChange, account: KeyKeeper, services: AppServices) -> KeyRead:
    """Change what is sent."""
    return await keys.change_key(services, account, key_id, body)


@router.delete("/{key_id}")
async def revoke_key(key_id: UUID, account: KeyKeeper, services: AppServices) -> KeyRead:
    """Revoke the key: it, and its earlier secrets, open nothing any more."""
    return await keys.revoke_key(services, account, key_id)
