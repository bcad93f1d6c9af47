"""A ZIP with a model and its files, read in memory and never unpacked to disk.

Looked at before a byte is unpacked: paths that leave the archive, links, passwords, sizes and ratios that
only a bomb has. What is wrong is `UnusableInput` `archive_refused`; a file that the model names and the
archive lacks is `missing_file`.
"""

from __future__ import annotations

import posixpath
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.import_limits import MIB, ImportLimits
from pipeline3d.geometry.refusals import refused

MODEL_SUFFIXES = (".glb", ".gltf", ".obj", ".stl", ".ply", ".3mf")
CLUTTER = "__MACOSX/"
"""A folder that macOS leaves in archives; names with a leading dot are of the same kind."""
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
SMALL_BYTES = MIB
"""A file that unpacks to less harms nobody, whatever its ratio."""
ENCRYPTED = 0x1
DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ValueError, RuntimeError)


@dataclass
class Archive:
    """The files of a ZIP that passed the checks. Close it, or use it as a context."""

    file: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def find_model(self) -> str:
        """The name of its one model."""
        models = [name for name in self.entries if name.lower().endswith(MODEL_SUFFIXES)]
        if len(models) != 1:
            found = ", ".join(sorted(models)[:5]) or "none"
            raise refused("archive_refused", f"one model is wanted in the archive, it has: {found[:200]}")
        return models[0]

    def read(self, name: str) -> bytes:
        """The content of an entry by its exact name."""
        try:
            return self.file.read(self.entries[name])
        except DAMAGE as error:
            raise refused("archive_refused", f"{name[:80]!r} in the archive is damaged") from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of an entry, a piece at a time."""
        try:
            with self.file.open(self.entries[name]) as file:
                while piece := file.read(MIB):
                    yield piece
        except DAMAGE as error:
            raise refused("archive_refused", f"{name[:80]!r} in the archive is damaged") from error

    def fetch(self, reference: str, *, beside: str) -> bytes:
        """The file that the model `beside` names by a relative path."""
        return self.read(self._resolve(reference, beside))

    def fetch_anywhere(self, reference: str, *, beside: str) -> bytes:
        """As `fetch`, but a file of that name anywhere will do: OBJ exporters write full paths."""
        wanted = posixpath.basename(reference.replace("\\", "/")).lower()
        try:
            return self.fetch(reference.replace("\\", "/"), beside=beside)
        except UnusableInput:
            for name in sorted(self.entries):
                if wanted and posixpath.basename(name).lower() == wanted:
                    return self.read(name)
            raise

    def _resolve(self, reference: str, beside: str) -> str:
        wanted = unquote(reference)
        if ":" in wanted or wanted.startswith(("/", "\\")):
            raise refused("external_reference", f"it names {reference[:80]!r} outside the archive")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(beside), wanted))
        if path.startswith(".."):
            raise refused("external_reference", f"it names {reference[:80]!r} outside the archive")
        if path in self.entries:
            return path
        for name in sorted(self.entries):
            if name.lower() == path.lower():
                return name
        raise refused("missing_file", f"it names {reference[:80]!r}, which is not in the archive")


def open_archive(path: Path, limits: ImportLimits) -> Archive:
    """The ZIP at this path. Raises UnusableInput `archive_refused`."""
    try:
        file = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise refused("archive_refused", "the archive is damaged or cut short") from error
    try:
        return Archive(file=file, entries=_check(file.infolist(), limits))
    except BaseException:
        file.close()
        raise


def _check(infos: list[zipfile.ZipInfo], limits: ImportLimits) -> dict[str, zipfile.ZipInfo]:
    if len(infos) > limits.archive_files:
        raise refused(
            "archive_refused",
            f"the archive has {len(infos):,} files; at most {limits.archive_files:,} are taken",
        )
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.archive_bytes:
        raise refused(
            "archive_refused",
            f"the archive unpacks to {unpacked:,} bytes; at most {limits.archive_bytes:,} are taken",
        )
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        _check_entry(info, limits)
        clutter = info.filename.startswith(CLUTTER) or posixpath.basename(info.filename).startswith(".")
        if info.is_dir() or clutter:
            continue
        if info.filename in entries:
            raise refused("archive_refused", f"the archive has {info.filename[:80]!r} twice")
        entries[info.filename] = info
    return entries


def _check_entry(info: zipfile.ZipInfo, limits: ImportLimits) -> None:
    name, shown = info.filename, repr(info.filename[:80])
    if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
        raise refused("archive_refused", f"the path {shown} leaves the archive")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refused("archive_refused", f"{shown} in the archive is a link or a device")
    if info.flag_bits & ENCRYPTED:
        raise refused("archive_refused", f"{shown} in the archive is encrypted")
    if info.compress_type not in PACKINGS:
        raise refused("archive_refused", f"{shown} in the archive is packed in an unusual way")
    if info.file_size > max(SMALL_BYTES, limits.archive_ratio * info.compress_size):
        raise refused("archive_refused", f"{shown} in the archive unpacks to far more than is packed")
