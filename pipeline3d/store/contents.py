"""The content of stored objects, piece by piece: nothing here holds more than a piece in memory.

Each piece is a request of its own, so that a slow reader keeps no connection of the store open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline3d.errors import BrokenArtifact, UnusableInput
from pipeline3d.store.s3 import ObjectFacts, S3Store

PIECE_BYTES = 4 << 20
HEAD_BYTES = 16
"""Enough of an object's beginning to tell what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What an object was found to be when all of it was read. `size` in bytes."""

    size: int
    sha256: str
    etag: str
    content_type: str
    head: bytes


def read_pieces(store: S3Store, key: str, size: int) -> Iterator[bytes]:
    """The content of an object that should have this many bytes; BrokenArtifact where it has not."""
    offset = 0
    while offset < size:
        piece = store.read_range(key, offset, min(PIECE_BYTES, size - offset))
        if not piece:
            break
        offset += len(piece)
        yield piece
    if offset != size:
        raise BrokenArtifact(f"{key} should have {size} bytes and has {offset}.")


def fingerprint(store: S3Store, key: str, *, at_most: int) -> Fingerprint:
    """Read an object and say what it is; UnusableInput (`file_too_large`) before anything is read of a larger
    one, BrokenArtifact where it is missing or is replaced meanwhile.
    """
    facts = store.stat(key)
    if facts.size > at_most:
        raise UnusableInput(
            f"The uploaded file has {facts.size:,} bytes; at most {at_most:,} are taken.",
            code="file_too_large",
            hint="Make it smaller, and upload it again.",
        )
    digest = hashlib.sha256()
    head = b""
    for piece in read_pieces(store, key, facts.size):
        head = head or piece[:HEAD_BYTES]
        digest.update(piece)
    if not is_still(store.stat(key), facts.size, facts.etag):
        raise BrokenArtifact(f"{key} was replaced while it was read.", code="object_replaced")
    return Fingerprint(
        size=facts.size,
        sha256=digest.hexdigest(),
        etag=facts.etag,
        content_type=facts.content_type,
        head=head,
    )


def is_still(facts: ObjectFacts, size: int, etag: str) -> bool:
    """Whether an object is the one that it was when its size and etag were noted."""
    return (facts.size, facts.etag) == (size, etag)
