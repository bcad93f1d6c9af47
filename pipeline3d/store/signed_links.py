"""Signed, stable paths to single pictures: pure functions, no store, no clock.

A path is valid for as long as the signing key is. It gives access to one named preview and to nothing
else, so it can stand in a log or a lineage page.
"""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

SIGNATURE_BYTES = 16
"""128 bits: cannot be guessed, keeps links short."""


def preview_path(signing_key: str, job_id: UUID, asset: str, name: str) -> str:
    """The API path of one preview, with its signature."""
    return f"/previews/{job_id}/{asset}/{name}?signature={_sign(signing_key, job_id, asset, name)}"


def is_signed(signing_key: str, job_id: UUID, asset: str, name: str, signature: str) -> bool:
    """Whether the signature was made with this key for exactly this preview; takes constant time."""
    return hmac.compare_digest(_sign(signing_key, job_id, asset, name).encode(), signature.encode())


def _sign(signing_key: str, job_id: UUID, asset: str, name: str) -> str:
    message = f"preview\n{job_id}\n{asset}\n{name}".encode()
    return hmac.new(signing_key.encode(), message, hashlib.sha256).digest()[:SIGNATURE_BYTES].hex()
