"""Uploads: tickets for them, and the checks of what was uploaded before a job may use it.

The bytes never pass through here: a caller writes to the store directly, so size and content are looked at
when a job names the object. Whether a picture can be decoded is found out by the run.
"""

from __future__ import annotations

import re
from uuid import UUID

from pipeline3d.api.bodies import Ticket
from pipeline3d.api.services import Services
from pipeline3d.errors import BrokenArtifact, InvalidParameters, NotYours, RequestError
from pipeline3d.requests.creation import UploadedInput
from pipeline3d.store.keys import owner_of_upload, upload_key

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
MODEL_CONTENT_TYPES = frozenset(
    {
        "application/octet-stream",
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
HEAD_BYTES = 16
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
IMAGE_FORMATS = "PNG, JPEG, WebP, GIF, BMP or TIFF"


def identify_image(head: bytes) -> str | None:
    """The picture format that the first bytes tell of."""
    for name, offset, signature in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature and (name != "WebP" or head[:4] == b"RIFF"):
            return name
    return None


def is_model_name(filename: str) -> bool:
    """Whether a file's ending is one of a 3D model."""
    return filename.lower().rpartition(".")[2] in MODEL_EXTENSIONS


def is_model_type(content_type: str) -> bool:
    """Whether a model may be called so."""
    return _MODEL_TYPE.fullmatch(content_type.lower()) is not None or (
        content_type.lower() in MODEL_CONTENT_TYPES
    )


def may_be_model(head: bytes, filename: str) -> bool:
    """Whether a file begins as its ending says; STL and OBJ have no sure beginning."""
    ending = filename.lower().rpartition(".")[2]
    begins = {"glb": b"glTF", "ply": b"ply", "3mf": b"PK\x03\x04", "zip": b"PK\x03\x04"}
    if ending == "gltf":
        return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    return ending in MODEL_EXTENSIONS and head.startswith(begins.get(ending, b""))


def make_ticket(services: Services, user_id: UUID, filename: str, content_type: str) -> Ticket:
    """Leave for one upload; the key says whose it is. Computed, without asking the store."""
    limit = services.settings.max_upload_bytes
    if content_type.lower() not in IMAGE_CONTENT_TYPES:
        if not (is_model_name(filename) and is_model_type(content_type)):
            raise InvalidParameters(
                f"content_type is {content_type!r}; allowed are {', '.join(IMAGE_CONTENT_TYPES)}, and for "
                f"3D models files named *.{', *.'.join(MODEL_EXTENSIONS)}.",
                code="unsupported_content_type",
                hint="Convert a picture to PNG or JPEG, a model to GLB.",
            )
        limit = services.settings.max_model_bytes
    key = upload_key(user_id, filename)
    expires_s = services.settings.upload_url_expires_s
    return Ticket(
        upload_url=services.store.presign_put(key, expires_s, content_type),
        object_name=key,
        expires_in=expires_s,
        max_bytes=limit,
        headers={"Content-Type": content_type},
    )


async def check_uploaded_image(services: Services, user_id: UUID, key: str) -> UploadedInput:
    """The picture that the caller uploaded under this key; an error that says what is wrong with it."""
    facts, head = await _look_at_upload(
        services, user_id, key, what="picture", limit=services.settings.max_upload_bytes
    )
    if identify_image(head) is None:
        raise InvalidParameters(
            f"The uploaded object is not a picture: it does not begin like a {IMAGE_FORMATS} file.",
            code="not_an_image",
            hint="Upload a photo as PNG or JPEG.",
        )
    return facts


async def check_uploaded_model(services: Services, user_id: UUID, key: str) -> UploadedInput:
    """The 3D model that the caller uploaded under this key; an error that says what is wrong with it."""
    facts, head = await _look_at_upload(
        services, user_id, key, what="model", limit=services.settings.max_model_bytes
    )
    if not may_be_model(head, key):
        raise InvalidParameters(
            f"The uploaded object is no 3D model: its name and first bytes are of none of "
            f"{', '.join(MODEL_EXTENSIONS)}.",
            code="not_a_model",
            hint="Upload a GLB, or what belongs together in one ZIP.",
        )
    return facts


async def _look_at_upload(
    services: Services, user_id: UUID, key: str, *, what: str, limit: int
) -> tuple[UploadedInput, bytes]:
    """An upload's size and type, and its first bytes."""
    if owner_of_upload(key) != user_id:
        raise NotYours(
            "input_path is not an object that you uploaded.",
            code="not_your_object",
            hint="Send the object_name of your own upload ticket.",
        )
    try:
        facts = await services.ask_store(services.store.stat, key)
        if facts.size == 0:
            raise InvalidParameters(
                f"The uploaded {what} is empty.", code="empty_file", hint="Upload it again."
            )
        if facts.size > limit:
            raise RequestError(
                f"The uploaded {what} has {facts.size} bytes; at most {limit} are accepted.",
                code="file_too_large",
                hint=f"Upload a smaller {what}.",
            )
        head = await services.ask_store(services.store.read_head, key, HEAD_BYTES)
    except BrokenArtifact as error:
        raise InvalidParameters(
            "Nothing was uploaded under input_path yet.",
            code="input_not_found",
            hint=f"PUT the {what} to the ticket's upload_url first.",
        ) from error
    return UploadedInput(key=key, size=facts.size, content_type=facts.content_type), head
