"""The keys of objects: where each thing lies in the bucket and whose it is. Pure functions.

    uploads/inputs/{user_id}/{uuid}-{file name}   what a caller uploaded; the key says whose it is
    jobs/{job_id}/{asset}/{file name}             what a run made
    tmp/{uuid}                                    on its way to its place; older than a day it is rubbish
    compute_logs/storage/{run_id}/…               what a run wrote to its output; Dagster makes these keys

A key is made of parts that cannot leave their folder, whatever a caller sends as a file name.
"""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID, uuid4

UPLOADS = "uploads/inputs"
JOBS = "jobs"
TEMPORARY = "tmp"
COMPUTE_LOGS = "compute_logs"
LOG_STORAGE = "storage"
"""What Dagster puts between the prefix of its logs and their own names."""
MAX_NAME_LENGTH = 100
"""Longest file name in a key; S3 allows 1024 bytes for the whole key."""

MAX_EXTENSION_LENGTH = 10
DEFAULT_NAME = "file"
_SAFE_PART = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII | re.IGNORECASE)


def upload_key(user_id: UUID, filename: str, unique: UUID | None = None) -> str:
    """A key for a user's upload, new each time."""
    return f"{UPLOADS}/{user_id}/{unique or uuid4()}-{sanitise_filename(filename)}"


def owner_of_upload(key: str) -> UUID | None:
    """Whose upload a key names; None where it names no upload or is not a key that this module makes."""
    parts = key.split("/")
    expected = len(UPLOADS.split("/")) + 2
    if len(parts) != expected or not key.startswith(f"{UPLOADS}/") or not _SAFE_PART.fullmatch(parts[-1]):
        return None
    return _canonical_uuid(parts[-2])


def artifact_key(job_id: UUID, asset: str, filename: str) -> str:
    """The key of what an asset made for a request. The parts are ours: a wrong one is a mistake in code."""
    for part in (asset, filename):
        if not _SAFE_PART.fullmatch(part) or ".." in part:
            raise ValueError(f"{part!r} cannot be part of a key")
    return f"{JOBS}/{job_id}/{asset}/{filename}"


def job_prefix(job_id: UUID) -> str:
    """What the keys of all that a request made begin with."""
    return f"{JOBS}/{job_id}/"


def job_of_artifact(key: str) -> UUID | None:
    """Which request's result a key names; None where this module makes no such key."""
    parts = key.split("/")
    well_formed = len(parts) == 4 and all(_SAFE_PART.fullmatch(part) for part in parts[2:])
    return _canonical_uuid(parts[1]) if well_formed and parts[0] == JOBS else None


def run_of_compute_log(key: str) -> str | None:
    """Which run's output a key names; None where Dagster makes no such key."""
    parts = key.split("/")
    if len(parts) < 4 or parts[:2] != [COMPUTE_LOGS, LOG_STORAGE] or _canonical_uuid(parts[2]) is None:
        return None
    return parts[2]


def is_temporary(key: str) -> bool:
    """Whether a key is one for an object that is not whole yet."""
    prefix, _, name = key.partition("/")
    return prefix == TEMPORARY and _canonical_uuid(name) is not None


def temporary_key(unique: UUID | None = None) -> str:
    """A key for an object that is not whole yet."""
    return f"{TEMPORARY}/{unique or uuid4()}"


def sanitise_filename(filename: str) -> str:
    """A file name as ASCII letters, digits, dots, dashes and underscores, with its extension kept."""
    name = re.split(r"[/\\]", filename)[-1]
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)
    stem, _, extension = re.sub(r"\.{2,}", ".", safe).rstrip("._-").rpartition(".")
    if not stem and not safe.startswith("."):
        stem, extension = extension, ""
    extension = extension.strip("_-")[:MAX_EXTENSION_LENGTH]
    room = MAX_NAME_LENGTH - len(extension) - 1
    stem = stem[:room].strip("._-") or DEFAULT_NAME
    return f"{stem}.{extension}" if extension else stem


def _canonical_uuid(text: str) -> UUID | None:
    try:
        found = UUID(text)
    except ValueError:
        return None
    # UUID() also reads braces, upper case and a missing dash: one id, one spelling
    return found if str(found) == text else None
