"""The USDZ container: an uncompressed ZIP whose files all start at a multiple of 64 bytes, the layer first.

https://openusd.org/release/spec_usdz.html. Standard library only; equal content gives equal bytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline3d.geometry.zip_entries import plain_entry

ALIGNMENT = 64
LOCAL_HEADER_BYTES, EXTRA_HEADER_BYTES = 30, 4
PADDING_ID = 0x1986
"""The extra field's number that OpenUSD's own writer uses."""
CRATE_MAGIC = b"PXR-USDC"
PICTURE_TYPES = {".png": b"\x89PNG\r\n\x1a\n", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff"}
MOST_ENTRIES = 4096


def write_package(path: Path, entries: Sequence[tuple[str, bytes]]) -> None:
    """Names with their content, the root layer first."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=False) as package:
        for name, content in entries:
            entry = plain_entry(name, zipfile.ZIP_STORED)
            assert package.fp is not None
            start = package.fp.tell() + LOCAL_HEADER_BYTES + len(name.encode())
            entry.extra = _padding(-start % ALIGNMENT)
            package.writestr(entry, content)


def _padding(gap: int) -> bytes:
    """An extra field that fills the gap; one of less than its own header goes round once more."""
    if gap == 0:
        return b""
    if gap < EXTRA_HEADER_BYTES:
        gap += ALIGNMENT
    size = gap - EXTRA_HEADER_BYTES
    return PADDING_ID.to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(size)


def package_problems(path: Path) -> list[str]:
    """What of the container's rules the file breaks, as sentences; none for a good one."""
    try:
        with zipfile.ZipFile(path) as package:
            entries = package.infolist()
            if not entries:
                return ["The package is empty."]
            if len(entries) > MOST_ENTRIES:
                return [f"The package has {len(entries)} files; at most {MOST_ENTRIES} are taken."]
            problems = [problem for entry in entries for problem in _entry_problems(entry)]
            problems += [] if problems else _content_problems(path, entries)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return [f"The file is no readable ZIP archive ({error})."]
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        problems.append("Two files of the package have the same name.")
    if PurePosixPath(names[0]).suffix.lower() != ".usdc":
        problems.append(f"The first file must be a .usdc layer, it is {names[0]!r}.")
    return problems


def _entry_problems(entry: zipfile.ZipInfo) -> list[str]:
    name, suffix = entry.filename, PurePosixPath(entry.filename).suffix.lower()
    problems = []
    if entry.compress_type != zipfile.ZIP_STORED:
        problems.append(f"{name!r} is compressed; a USDZ stores its files as they are.")
    if entry.flag_bits & 1:
        problems.append(f"{name!r} is encrypted.")
    if suffix != ".usdc" and suffix not in PICTURE_TYPES:
        problems.append(f"{name!r} is of a type that ARKit does not read; .usdc, .png and .jpg are.")
    if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
        problems.append(f"{name!r} lies outside the package.")
    return problems


def _content_problems(path: Path, entries: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Where each file really starts, by its local header, and whether its first bytes are of its type."""
    problems = []
    with path.open("rb") as file:
        for entry in entries:
            file.seek(entry.header_offset)
            header = file.read(LOCAL_HEADER_BYTES)
            if len(header) < LOCAL_HEADER_BYTES or header[:4] != b"PK\x03\x04":
                problems.append(f"{entry.filename!r} has no local header where the archive says.")
                continue
            lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            start = entry.header_offset + LOCAL_HEADER_BYTES + lengths
            if start % ALIGNMENT:
                problems.append(f"{entry.filename!r} starts at byte {start}, no multiple of {ALIGNMENT}.")
            file.seek(start)
            suffix = PurePosixPath(entry.filename).suffix.lower()
            magic = PICTURE_TYPES.get(suffix, CRATE_MAGIC)
            if file.read(len(magic)) != magic:
                problems.append(f"{entry.filename!r} is not what its name says.")
    return problems
