"""A file that is there whole or not at all, whenever the power fails or the disk is full."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, *pieces: bytes) -> None:
    """Write beside the path and move into its place; raises OSError and then leaves nothing behind."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-")
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
