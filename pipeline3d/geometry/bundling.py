"""One ZIP with all that a shop needs: models, pictures, a page, a manifest with hashes, and a plain README.

Equal inputs give equal bytes (with the same zlib): files are in order of their names, times are fixed and
nothing of this machine gets in. What is compressed already is stored. The archive is written beside its
place and moved there when it is whole, so a bundle that exists is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry.bundle_checks import BLOCK, MANIFEST, MOST_FILES, clashing_names, name_problem
from pipeline3d.geometry.gate import QualityReport
from pipeline3d.geometry.snippets import Compression, ViewerSources, build_page, plain_text
from pipeline3d.geometry.zip_entries import plain_entry

GENERATOR = "Pipeline3D"
MANIFEST_VERSION = 1
PAGE, README, REPORT_JSON, REPORT_TEXT = "index.html", "README.txt", "report.json", "report.txt"
OWN_NAMES = (MANIFEST, PAGE, README, REPORT_JSON, REPORT_TEXT)
LONGEST_STEM = 60

MEDIA_TYPES = {
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".bin": "application/octet-stream",
    ".usdz": "model/vnd.usdz+zip",
    ".obj": "model/obj",
    ".mtl": "model/mtl",
    ".stl": "model/stl",
    ".ply": "application/octet-stream",
    ".3mf": "model/3mf",
    ".zip": "application/zip",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".ktx2": "image/ktx2",
    ".mp4": "video/mp4",
    ".json": "application/json",
    ".txt": "text/plain",
    ".html": "text/html",
    ".md": "text/markdown",
}
STORED = {".usdz", ".3mf", ".zip", ".png", ".jpg", ".jpeg", ".webp", ".ktx2", ".mp4"}
"""Compressed already: a second time costs only. (Meshopt is made to be deflated, so GLBs are.)"""
PICTURES = {".png", ".jpg", ".jpeg", ".webp"}

ROLES = {
    "web_glb": "for web pages: small, and what index.html shows",
    "glb": "the model itself, for editors and archives: nothing is compressed away",
    "usdz": "for iPhones and iPads: opens in the room with AR Quick Look",
    "gltf": "the model as separate files",
    "gltf_part": "belongs to the glTF file",
    "obj": "for older 3D programs",
    "obj_part": "belongs to the OBJ file",
    "stl": "for 3D printing, without colours",
    "ply": "for research programs, with colours",
    "3mf": "for 3D printing, with its unit",
    "lod": "a simpler version, for games and for the distance",
    "poster": "shown until the model is loaded; transparent",
    "thumbnail": "a small picture for lists",
    "contact_sheet": "the model from several sides",
    "turntable_mp4": "the model turning, as a film",
    "turntable_webp": "the model turning, as a picture that moves",
    "source": "what the model was made from",
    "report": "what was checked, found and mended",
    "page": "a page that shows the model; any web server can serve this folder",
    "readme": "this text",
    "other": "",
}
"""What each role is for, in the words of the README."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """One file to deliver: its name in the ZIP, what it is for (a key of `ROLES`), its bytes or its path.

    `size_px` (width, height) is for films; pictures are looked at here.
    """

    name: str
    role: str
    content: bytes | Path
    size_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleText:
    """What the bundle says of itself. `model`, `provenance` and all below hold plain JSON values.

    `title` and `alt` may come from strangers; `licence` is an SPDX name or a sentence.
    """

    title: str
    alt: str
    licence: str
    model: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was written: where, how large, its hash, and the manifest that is inside."""

    path: Path
    bytes: int
    sha256: str
    manifest: dict[str, Any]


def build_bundle(
    files: Sequence[BundleFile],
    path: Path,
    *,
    text: BundleText,
    report: QualityReport | None = None,
    compression: Compression = "none",
) -> Bundle:
    """Write the ZIP at `path`; `compression` is that of the web GLB.

    Raises InvalidParameters for names that are unsafe or taken, roles that do not exist and values that are
    no JSON, UnusableInput for a picture that is none, OSError where the disk is full; then nothing is at
    `path` that was not there before.
    """
    _refuse_unusable(files)
    part = path.with_name(f"{path.name}.part")
    try:
        manifest = _write(files, part, text, report, compression)
        length, digest = part.stat().st_size, _hash_file(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return Bundle(path=path, bytes=length, sha256=digest, manifest=manifest)


def file_stem(text: str, *, fallback: str = "model") -> str:
    """A name for files, made of whatever a person wrote: letters, digits and '-' only, never empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower()[:LONGEST_STEM].strip("-")
    return stem if stem and name_problem(stem) is None else fallback


def media_type_of(name: str) -> str:
    """The media type that a file's ending stands for."""
    return MEDIA_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


def _refuse_unusable(files: Sequence[BundleFile]) -> None:
    if not files:
        raise InvalidParameters(
            "A bundle of no files.", code="empty_bundle", hint="Ask for at least one format."
        )
    if len(files) > MOST_FILES - len(OWN_NAMES):
        raise InvalidParameters(f"{len(files)} files are too many for a bundle.", code="too_many_files")
    for file in files:
        reason = name_problem(file.name)
        if reason:
            raise InvalidParameters(
                f"{file.name[:80]!r} cannot be in a bundle: {reason}.",
                code="unsafe_name",
                hint="Use file_stem().",
            )
        if file.role not in ROLES:
            raise InvalidParameters(f"{file.role!r} is no role of a file.", code="unknown_role")
    clashes = clashing_names([*OWN_NAMES, *(file.name for file in files)])
    if clashes:
        raise InvalidParameters(f"{clashes[0]!r} is there twice, or is also a folder.", code="name_taken")


def _write(
    files: Sequence[BundleFile],
    part: Path,
    text: BundleText,
    report: QualityReport | None,
    compression: Compression,
) -> dict[str, Any]:
    title = plain_text(text.title) or "3D model"
    listed: list[dict[str, Any]] = []
    with zipfile.ZipFile(part, "w") as archive:
        for file in sorted([*files, *_report_files(report)], key=lambda file: file.name):
            listed.append(_add(archive, file))
        page = _build_index(files, text, compression)
        if page is not None:
            listed.append(_add(archive, BundleFile(name=PAGE, role="page", content=page.encode())))
        readme = _build_readme(title, text, listed, report)
        listed.append(_add(archive, BundleFile(name=README, role="readme", content=readme.encode())))
        manifest = {
            "version": MANIFEST_VERSION,
            "generator": GENERATOR,
            "title": title,
            "licence": plain_text(text.licence),
            "model": dict(text.model),
            "provenance": dict(text.provenance),
            "quality": _quality(report),
            "files": listed,
        }
        _add(archive, BundleFile(name=MANIFEST, role="other", content=_json_bytes(manifest)))
    return manifest


def _report_files(report: QualityReport | None) -> list[BundleFile]:
    if report is None:
        return []
    return [
        BundleFile(name=REPORT_JSON, role="report", content=_json_bytes(report.as_json())),
        BundleFile(name=REPORT_TEXT, role="report", content=report.as_text().encode()),
    ]


def _quality(report: QualityReport | None) -> dict[str, str] | None:
    if report is None:
        return None
    return {"profile": report.profile, "verdict": report.verdict, "summary": report.summary}


def _json_bytes(value: Any) -> bytes:
    try:
        # Escaped to ASCII, so that a lone surrogate in somebody's prompt can be written, too.
        return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise InvalidParameters(f"A value for the manifest is no JSON: {error}.", code="not_json") from error


def _add(archive: zipfile.ZipFile, file: BundleFile) -> dict[str, Any]:
    """Put one file in, and describe it as it was read: what the manifest says is what is inside."""
    suffix = Path(file.name).suffix.lower()
    entry = plain_entry(file.name, zipfile.ZIP_STORED if suffix in STORED else zipfile.ZIP_DEFLATED)
    # Before it is written, the size decides whether the entry can be longer than 2 GiB.
    entry.file_size = len(file.content) if isinstance(file.content, bytes) else file.content.stat().st_size
    length, digest = 0, hashlib.sha256()
    with _open(file.content) as content, archive.open(entry, "w") as target:
        for block in _blocks(content):
            target.write(block)
            length += len(block)
            digest.update(block)
    described: dict[str, Any] = {
        "name": file.name,
        "role": file.role,
        "media_type": media_type_of(file.name),
        "bytes": length,
        "sha256": digest.hexdigest(),
    }
    size = _picture_size(file) if suffix in PICTURES else file.size_px
    if size is not None:
        described |= {"width": size[0], "height": size[1]}
    return described


def _open(content: bytes | Path) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _blocks(content: BinaryIO) -> Iterator[bytes]:
    while block := content.read(BLOCK):
        yield block


def _picture_size(file: BundleFile) -> tuple[int, int]:
    """From the picture's head; its pixels are not decoded."""
    from PIL import Image

    try:
        with _open(file.content) as content, Image.open(content) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnusableInput(f"{file.name} is no picture: {error}.", code="unreadable_picture") from error


def _first(files: Iterable[BundleFile], *roles: str) -> str | None:
    """The name of the first file of the first role that there is; the names' order decides among equals."""
    for role in roles:
        names = sorted(file.name for file in files if file.role == role)
        if names:
            return names[0]
    return None


def _build_index(files: Sequence[BundleFile], text: BundleText, compression: Compression) -> str | None:
    """A page for the web GLB, else for the plain one; None where there is neither."""
    web, plain = _first(files, "web_glb"), _first(files, "glb")
    model = web or plain
    if model is None:
        return None
    sources = ViewerSources(
        model=model,
        usdz=_first(files, "usdz"),
        poster=_first(files, "poster", "thumbnail"),
        compression=compression if web else "none",
    )
    return build_page(sources, title=text.title, alt=text.alt)


def _build_readme(
    title: str, text: BundleText, listed: list[dict[str, Any]], report: QualityReport | None
) -> str:
    names = [file["name"] for file in listed]
    width = max(map(len, [*names, README]))
    lines = [title, "=" * len(title), "", "Files", "-----"]
    lines += [
        f"{file['name']:<{width}}  {_amount(file['bytes']):>9}  {ROLES[file['role']]}".rstrip()
        for file in listed
    ]
    if PAGE in names:
        lines += [
            "",
            "To see it",
            "---------",
            "Browsers do not load models from a folder on disk, so serve this one, for example with",
            "  python3 -m http.server",
            f"and open http://localhost:8000/{PAGE} (the viewer itself is loaded from the internet).",
            f"To put the model into your own page, upload this folder and copy the lines from {PAGE},",
            "with the addresses of the files.",
        ]
    if report is not None:
        lines += ["", "Quality", "-------", report.summary, f"Every check is in {REPORT_TEXT}."]
    lines += ["", "Licence", "-------", plain_text(text.licence) or "Not stated."]
    lines += [
        "",
        "Origin and integrity",
        "--------------------",
        f"{MANIFEST} says how the model came to be, and the SHA-256 of every file.",
    ]
    return "\n".join(lines) + "\n"


def _amount(length: int) -> str:
    return f"{length / 1e6:,.1f} MB" if length >= 1e6 else f"{length / 1e3:,.1f} kB"


def _hash_file(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
