"""Files of this machine on their way to and from the object store."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline3d.client.answers import Link
from pipeline3d.errors import BrokenArtifact

CHUNK_BYTES = 1 << 16


def hash_file(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class IncomingFile:
    """A file that is being fetched: it appears at its path whole and verified, or not at all."""

    def __init__(self, link: Link, path: Path) -> None:
        self._link = link
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        self._file = self._partial.open("wb")
        return self

    def take(self, chunk: bytes) -> None:
        """Write what came."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self._size += len(chunk)

    def finish(self) -> None:
        """All has come: verify it and let it appear. Raises BrokenArtifact."""
        self._file.close()
        expected = self._link["sha256"]
        if self._size != self._link["size"] or expected not in (None, self._digest.hexdigest()):
            raise BrokenArtifact(f"{self._link['filename']} arrived damaged.", hint="Download it again.")
        self._partial.replace(self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)
