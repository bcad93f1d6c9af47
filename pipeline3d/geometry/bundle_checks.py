"""Whether a bundle is what its manifest says: every file there, whole, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
LONGEST_NAME = 150
"""Unpacked below a user's folders it still fits into Windows' 260 characters."""
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Devices, for Windows."""
MOST_FILES = 1000
MOST_BYTES = 4 * 1024**3
"""All files together, unpacked: more is no bundle of ours but a bomb."""
LARGEST_MANIFEST = 16 * 1024**2
BLOCK = 1 << 20


def name_problem(name: str) -> str | None:
    """Why this name must not be in a bundle, or None: it is unpacked on any system, into any folder."""
    if len(name) > LONGEST_NAME:
        return f"its name has {len(name)} characters, {LONGEST_NAME} are allowed"
    if not SAFE_NAME.fullmatch(name):
        return "its name is not made of letters, digits, '.', '_' and '-' in folders below this one"
    if any(RESERVED.fullmatch(part) or part.endswith(".") for part in name.split("/")):
        return "its name means something else on Windows"
    return None


def clashing_names(names: Iterable[str]) -> list[str]:
    """Names that meet another one where upper and lower case are the same, or that are also a folder."""
    seen: set[str] = set()
    folders: set[str] = set()
    clashes = []
    for name in names:
        lower = name.lower()
        parts = lower.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if lower in seen or lower in folders or above & seen:
            clashes.append(name)
        seen.add(lower)
        folders |= above
    return clashes


@cache
def manifest_schema() -> dict[str, Any]:
    """The JSON schema that every manifest keeps to."""
    text = resources.files("pipeline3d.geometry").joinpath("bundle_manifest.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check_bundle(path: Path) -> list[str]:
    """What is wrong with the bundle at `path`, in sentences; an empty list for a good one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _check_archive(archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        return [f"The ZIP cannot be read: {error}."]


def _check_archive(archive: zipfile.ZipFile) -> list[str]:
    entries = archive.infolist()
    problems = _check_entries(entries)
    if problems:
        return problems
    manifest = _read_manifest(archive)
    if isinstance(manifest, str):
        return [manifest]
    problems = _check_against_schema(manifest)
    if problems:
        return problems
    listed = {file["name"]: file for file in manifest["files"]}
    if len(listed) != len(manifest["files"]):
        problems.append("The manifest lists a file twice.")
    present = {entry.filename for entry in entries} - {MANIFEST}
    problems += [f"{name} is in the manifest and not in the ZIP." for name in sorted(set(listed) - present)]
    problems += [f"{name} is in the ZIP and not in the manifest." for name in sorted(present - set(listed))]
    for name in sorted(present & set(listed)):
        problems += _check_file(archive, listed[name])
    return problems


def _check_entries(entries: list[zipfile.ZipInfo]) -> list[str]:
    if len(entries) > MOST_FILES:
        return [f"The ZIP has {len(entries)} entries, {MOST_FILES} are allowed."]
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        return ["The ZIP unpacks to more than a bundle ever has."]
    problems = []
    for entry in entries:
        reason = name_problem(entry.filename)
        if reason:
            problems.append(f"{entry.filename[:80]!r}: {reason}.")
        elif stat.S_ISLNK(entry.external_attr >> 16):
            problems.append(f"{entry.filename} is a link.")
        elif entry.flag_bits & 1:
            problems.append(f"{entry.filename} is encrypted.")
    clashes = clashing_names(entry.filename for entry in entries)
    return problems + [f"{name[:80]!r} is there twice, or is also a folder." for name in clashes]


def _read_manifest(archive: zipfile.ZipFile) -> Any:
    """The manifest, or the sentence that says why there is none."""
    try:
        if archive.getinfo(MANIFEST).file_size > LARGEST_MANIFEST:
            return "The manifest is too large."
        return json.loads(archive.read(MANIFEST))
    except KeyError:
        return "The ZIP has no manifest.json."
    except (ValueError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        return f"The manifest cannot be read: {error}."


def _check_against_schema(manifest: Any) -> list[str]:
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(manifest_schema()).iter_errors(manifest)
    return [f"The manifest is wrong at {error.json_path}: {error.message[:200]}." for error in errors]


def _check_file(archive: zipfile.ZipFile, listed: dict[str, Any]) -> list[str]:
    name, length, digest = listed["name"], 0, hashlib.sha256()
    try:
        with archive.open(name) as content:
            while block := content.read(BLOCK):
                length += len(block)
                digest.update(block)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        return [f"{name} is damaged: {error}."]
    if length != listed["bytes"]:
        return [f"{name} has {length} bytes, the manifest says {listed['bytes']}."]
    if digest.hexdigest() != listed["sha256"]:
        return [f"{name} is not the file that the manifest names: its SHA-256 is another."]
    return []
