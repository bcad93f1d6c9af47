"""Uploads: tickets for them, and the checks of what was uploaded before a job may use it.

The bytes never pass through here: a caller writes to the store directly, so size and content are looked at
when a job names the object. Whether a picture can be decoded is found out by the run.
"""

from __future__ import annotations

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


def make_ticket(services: Services, user_id: UUID, filename: str, content_type: str) -> Ticket:
    """Leave for one upload; the key says whose it is. Computed, without asking the store."""
    if content_type.lower() not in IMAGE_CONTENT_TYPES:
        raise InvalidParameters(
            f"content_type is {content_type!r}; allowed are {', '.join(IMAGE_CONTENT_TYPES)}.",
            code="unsupported_content_type",
            hint="Convert the picture to PNG or JPEG.",
        )
    key = upload_key(user_id, filename)
    expires_s = services.settings.upload_url_expires_s
    return Ticket(
        upload_url=services.store.presign_put(key, expires_s, content_type),
        object_name=key,
        expires_in=expires_s,
        max_bytes=services.settings.max_upload_bytes,
        headers={"Content-Type": content_type},
    )


async def check_uploaded_image(services: Services, user_id: UUID, key: str) -> UploadedInput:
    """What the caller uploaded under this key; an error that says what is wrong with it."""
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
                "The uploaded picture is empty.", code="empty_file", hint="Upload it again."
            )
        limit = services.settings.max_upload_bytes
        if facts.size > limit:
            raise RequestError(
                f"The uploaded picture has {facts.size} bytes; at most {limit} are accepted.",
                code="file_too_large",
                hint="Upload a smaller picture.",
            )
        head = await services.ask_store(services.store.read_head, key, HEAD_BYTES)
    except BrokenArtifact as error:
        raise InvalidParameters(
            "Nothing was uploaded under input_path yet.",
            code="input_not_found",
            hint="PUT the picture to the ticket's upload_url first.",
        ) from error
    if identify_image(head) is None:
        raise InvalidParameters(
            f"The uploaded object is not a picture: it does not begin like a {IMAGE_FORMATS} file.",
            code="not_an_image",
            hint="Upload a photo as PNG or JPEG.",
        )
    return UploadedInput(key=key, size=facts.size, content_type=facts.content_type)
