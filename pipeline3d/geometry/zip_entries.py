"""Entries of ZIPs that are the same bytes for the same content: no time of writing, no host in them."""

from __future__ import annotations

import zipfile
from pathlib import Path

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a ZIP can hold."""
UNIX, READABLE_FILE = 3, 0o100644 << 16


def plain_entry(name: str, compression: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    """An entry for a file that everyone may read, to be written."""
    entry = zipfile.ZipInfo(name, EARLIEST)
    entry.create_system, entry.external_attr = UNIX, READABLE_FILE
    entry.compress_type = compression
    return entry


def pack_folder(folder: Path, path: Path) -> Path:
    """A ZIP of the files that lie in a folder, in the order of their names; its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.writestr(plain_entry(file.name), file.read_bytes())
    return path
