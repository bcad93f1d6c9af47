"""Cursors: a place in a list as an opaque text for a URL. Pure functions.

A cursor holds the moment and the id of the last job of a page, and a digest of what was chosen and in which
order: with other filters it is refused instead of leading somewhere unexpected. It opens nothing, since every
list shows the caller's own jobs only; so it is checked, not signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.listing import Place

VERSION = 1
_FORM = struct.Struct(">Bq16s8s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def digest_query(parts: Iterable[tuple[str, str]]) -> bytes:
    """A digest of the names and values of what was chosen, in whatever order they came."""
    text = "\n".join(f"{name}={value}" for name, value in sorted(parts))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()


def write_cursor(place: Place, digest: bytes) -> str:
    """The cursor of a page that ends at this place."""
    moment = (place.created_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(_FORM.pack(VERSION, moment, place.id.bytes, digest)).decode()


def read_cursor(cursor: str, digest: bytes) -> Place:
    """The place at which the next page begins. Raises InvalidParameters `invalid_cursor`."""
    try:
        packed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        version, moment, job_id, made_for = _FORM.unpack(packed)
        place = Place(created_at=_EPOCH + moment * _MICROSECOND, id=UUID(bytes=job_id))
    except (binascii.Error, ValueError, struct.error, OverflowError) as error:
        raise _invalid("The cursor is none that this service gave.") from error
    if version != VERSION or write_cursor(place, made_for) != cursor:
        raise _invalid("The cursor is none that this service gave.")
    if made_for != digest:
        raise _invalid("The cursor belongs to a list with other filters or another order.")
    return place


def point_onwards(path: str, query: Iterable[tuple[str, str]], cursor: str) -> dict[str, str]:
    """The headers that say where a list goes on; the link has the filters of the query that asked for it."""
    kept = [(name, value) for name, value in query if name not in ("cursor", "skip")]
    target = f"{path}?{urlencode([*kept, ('cursor', cursor)])}"
    return {"X-Next-Cursor": cursor, "Link": f'<{target}>; rel="next"'}


def _invalid(message: str) -> InvalidParameters:
    return InvalidParameters(
        message,
        code="invalid_cursor",
        hint="Take it from Link or X-Next-Cursor of the page before, and leave the filters as they are.",
    )
