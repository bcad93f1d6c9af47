"""Which files may be brought, told by their name, their type and their first bytes. Pure functions.

Whether a picture can be decoded and a model read is found out by the run.
"""

from __future__ import annotations

import re
from enum import StrEnum

from pipeline3d.errors import InvalidParameters

IMAGE_CONTENT_TYPES = (
    "image/png",
    "image/jpeg",
    "image/jpg",  # not a registered type, and yet common
    "image/webp",
    "image/gif",
    "image/bmp",
    "image/tiff",
)
MODEL_EXTENSIONS = ("glb", "gltf", "obj", "stl", "ply", "3mf", "zip")
UNKNOWN_TYPE = "application/octet-stream"
"""What a system says of a file that it does not know."""
MODEL_CONTENT_TYPES = frozenset(
    {
        UNKNOWN_TYPE,
        "application/zip",
        "application/x-zip-compressed",
        "application/json",
        "application/sla",
        "application/vnd.ms-pki.stl",
        "application/vnd.ms-package.3dmanufacturing-3dmodel+xml",
        "application/x-tgif",  # what some systems say of OBJ
        "text/plain",
    }
)
"""Besides `model/…`: systems do not agree what a model file is. None of them is run by a browser."""
_MODEL_TYPE = re.compile(r"model/[a-z0-9.+-]{1,80}")
_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("GIF", 0, b"GIF87a"),
    ("GIF", 0, b"GIF89a"),
    ("BMP", 0, b"BM"),
    ("TIFF", 0, b"II*\x00"),
    ("TIFF", 0, b"MM\x00*"),
    ("WebP", 8, b"WEBP"),
)
_IMAGE_FORMATS = "PNG, JPEG, WebP, GIF, BMP or TIFF"


class FileKind(StrEnum):
    """What a file is brought as."""

    PICTURE = "picture"
    MODEL = "model"


def kind_of(filename: str, content_type: str) -> FileKind:
    """What a file of this name and type is; InvalidParameters where neither pictures nor models are so."""
    if content_type.lower() in IMAGE_CONTENT_TYPES:
        return FileKind.PICTURE
    if is_model_name(filename) and is_model_type(content_type):
        return FileKind.MODEL
    raise InvalidParameters(
        f"content_type is {content_type!r}; allowed are {', '.join(IMAGE_CONTENT_TYPES)}, and for "
        f"3D models files named *.{', *.'.join(MODEL_EXTENSIONS)}.",
        code="unsupported_content_type",
        hint="Convert a picture to PNG or JPEG, a model to GLB.",
    )


def check_beginning(kind: FileKind, head: bytes, filename: str) -> None:
    """InvalidParameters where a file does not begin as one of its kind and name does."""
    if kind is FileKind.PICTURE and identify_image(head) is None:
        raise InvalidParameters(
            f"The uploaded object is not a picture: it does not begin like a {_IMAGE_FORMATS} file.",
            code="not_an_image",
            hint="Upload a photo as PNG or JPEG.",
        )
    if kind is FileKind.MODEL and not may_be_model(head, filename):
        raise InvalidParameters(
            f"The uploaded object is no 3D model: its name and first bytes are of none of "
            f"{', '.join(MODEL_EXTENSIONS)}.",
            code="not_a_model",
            hint="Upload a GLB, or what belongs together in one ZIP.",
        )


def identify_image(head: bytes) -> str | None:
    """The picture format that the first bytes tell of."""
    for name, offset, signature in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature and (name != "WebP" or head[:4] == b"RIFF"):
            return name
    return None


def ending_of(filename: str) -> str:
    """What follows the last dot of a name, in lower case; the whole name where there is no dot."""
    return filename.lower().rpartition(".")[2]


def is_model_name(filename: str) -> bool:
    """Whether a file's ending is one of a 3D model."""
    return ending_of(filename) in MODEL_EXTENSIONS


def is_model_type(content_type: str) -> bool:
    """Whether a model may be called so."""
    return _MODEL_TYPE.fullmatch(content_type.lower()) is not None or (
        content_type.lower() in MODEL_CONTENT_TYPES
    )


def may_be_model(head: bytes, filename: str) -> bool:
    """Whether a file begins as its ending says; STL and OBJ have no sure beginning."""
    ending = ending_of(filename)
    begins = {"glb": b"glTF", "ply": b"ply", "3mf": b"PK\x03\x04", "zip": b"PK\x03\x04"}
    if ending == "gltf":
        return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    return ending in MODEL_EXTENSIONS and head.startswith(begins.get(ending, b""))
