"""ZIP files of photos: what may be in one, found out before anything is unpacked. Nothing is trusted.

A name that would leave its folder, a link, a locked entry or more than was announced refuses all of it; what
is merely no picture is left for its own refusal.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from pipeline3d.api.batch_forms import MOST_JOBS
from pipeline3d.errors import InvalidParameters, RequestError

MOST_DIRECTORY_BYTES = 2 << 20
"""Of the list at the end of the file: enough for a thousand long names, and read into memory whole."""
MOST_RATIO = 100
"""How many times larger an entry may become. Pictures are compressed already."""
SMALL_BYTES = 1 << 20
"""Below this no ratio does harm."""
LONGEST_NAME = 500
PIECE_BYTES = 1 << 18
_IGNORED_PARTS = frozenset({"__MACOSX"})
_IGNORED_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_ZIP64_MARK = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_LONGEST_COMMENT = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """What an archive may hold, in bytes."""

    total_bytes: int


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """The archive in a file. InvalidParameters (`archive_invalid`) where it is none that is taken."""
    _check_directory(file)
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error) as error:
        raise _invalid("it is no ZIP file") from error


def list_photos(archive: zipfile.ZipFile, limits: ArchiveLimits) -> list[zipfile.ZipInfo]:
    """The entries that are to become jobs, in their order; what systems add by themselves is passed over.

    Raises InvalidParameters (`archive_unsafe`, `archive_invalid`, `too_many_jobs`), RequestError
    (`file_too_large`).
    """
    entries = archive.infolist()
    for entry in entries:
        _require_safe(entry)
    photos = [entry for entry in entries if not entry.is_dir() and not _is_ignored(entry.filename)]
    if not photos:
        raise _invalid("there is no file in it")
    if len(photos) > MOST_JOBS:
        raise InvalidParameters(
            f"The archive has more than {MOST_JOBS} files.", code="too_many_jobs", hint="Send it in parts."
        )
    names = [entry.filename for entry in photos]
    if len(set(names)) < len(names):
        raise _unsafe("a name is in it twice")
    total = sum(entry.file_size for entry in photos)
    if total > limits.total_bytes:
        raise RequestError(
            f"The archive would have {total} bytes unpacked; at most {limits.total_bytes} are accepted.",
            code="file_too_large",
            hint="Send it in parts.",
        )
    return photos


def unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: BinaryIO, limit: int) -> int:
    """Write an entry into a file, a piece at a time; its bytes. Raises RequestError for one too large."""
    size = 0
    try:
        with archive.open(entry) as source:
            while piece := source.read(PIECE_BYTES):
                size += len(piece)
                if size > limit:
                    raise RequestError(
                        f"{_shown(entry.filename)} has more than the {limit} bytes that are accepted.",
                        code="file_too_large",
                        hint="Send a smaller picture.",
                    )
                target.write(piece)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise _invalid(f"{_shown(entry.filename)} is broken") from error
    except Exception as error:
        if type(error).__module__ == "zlib":
            raise _invalid(f"{_shown(entry.filename)} is broken") from error
        raise
    return size


def _require_safe(entry: zipfile.ZipInfo) -> None:
    name, shown = entry.filename, _shown(entry.filename)
    parts = PurePosixPath(name).parts
    if len(name) > LONGEST_NAME or not name or any(not letter.isprintable() for letter in name):
        raise _unsafe(f"{shown} is no usual name of a file")
    if name.startswith("/") or "\\" in name or name[1:2] == ":" or ".." in parts:
        raise _unsafe(f"{shown} lies outside of the archive's folder")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _unsafe(f"{shown} is a link or a device")
    if entry.flag_bits & 0x1:
        raise _unsafe(f"{shown} is encrypted")
    if entry.compress_type not in _METHODS:
        raise _invalid(f"{shown} is compressed in a way other than deflate")
    if entry.file_size > SMALL_BYTES and entry.file_size > MOST_RATIO * max(entry.compress_size, 1):
        raise _unsafe(f"{shown} would become more than {MOST_RATIO} times larger")


def _is_ignored(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in _IGNORED_NAMES or not _IGNORED_PARTS.isdisjoint(path.parts)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a list of entries that would fill the memory, before it is read."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - _LONGEST_COMMENT - _ZIP64_LOCATOR_BYTES))
    tail = file.read()
    at = len(tail) - _END.size
    if at < 0 or not (tail[at:].startswith(_END_MARK) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        raise _invalid("it is no ZIP file")
    _, _, _, _, _, directory_bytes, _, _ = _END.unpack_from(tail, at)
    if directory_bytes > MOST_DIRECTORY_BYTES:
        raise _invalid("it has too many entries")
    if tail[max(0, at - _ZIP64_LOCATOR_BYTES) : at].startswith(_ZIP64_MARK):
        raise _invalid("it is of the form for huge archives (ZIP64)")
    file.seek(0)


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:80] + "…")


def _unsafe(why: str) -> InvalidParameters:
    return InvalidParameters(
        f"The archive is refused: {why}.",
        code="archive_unsafe",
        hint="Send a plain ZIP of pictures: no links, no passwords, names below its own folder.",
    )


def _invalid(why: str) -> InvalidParameters:
    return InvalidParameters(
        f"The archive cannot be used: {why}.",
        code="archive_invalid",
        hint="Send a ZIP file of pictures, stored or deflated.",
    )
