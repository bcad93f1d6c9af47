"""The wire forms of uploads and share links. No rules beyond the form itself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from pipeline3d.api.bodies import Text
from pipeline3d.requests.sharing import ShareScope

MOST_BYTES = 2**53
"""No size beyond what every JSON reader keeps exact."""
MOST_SHARED_S = 10 * 366 * 24 * 3600

Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]


class TicketBody(BaseModel):
    """What is to be uploaded. With `size` and `sha256` the store takes exactly that and nothing else."""

    filename: Annotated[Text, Field(min_length=1, max_length=1024, examples=["chair.png"])]
    content_type: Annotated[Text, Field(min_length=1, max_length=100, examples=["image/png"])]
    size: Annotated[int, Field(ge=1, le=MOST_BYTES, description="Its exact number of bytes.")] | None = None
    sha256: Annotated[Sha256, Field(description="Of its content, as hexadecimal digits.")] | None = None


class Ticket(BaseModel):
    """Leave to upload one object: PUT it to `upload_url` with exactly these headers."""

    id: UUID
    upload_url: str | None = Field(description="null where the same content is there already.")
    object_name: str
    expires_in: int
    max_bytes: int
    headers: dict[str, str]
    already_stored: bool = Field(False, description="You uploaded it before: name it, upload nothing.")


class UploadRead(BaseModel):
    """A file that was, or may be, uploaded. `size` and `sha256` are known once it was verified."""

    id: UUID
    object_name: str
    filename: str
    content_type: str
    size: int | None
    sha256: str | None
    verified: bool
    created_at: datetime
    expires_at: datetime = Field(description="Until when its ticket works.")
    stored_at: datetime | None


class UploadAnswer(UploadRead):
    """A file that came with the request."""

    already_stored: bool = Field(description="The same content was there already; nothing was stored.")


class ShareBody(BaseModel):
    """What is shared, and for how long; without a time until it is revoked."""

    scope: ShareScope = ShareScope.RESULT
    expires_in_s: Annotated[int, Field(ge=60, le=MOST_SHARED_S)] | None = None


class ShareRead(BaseModel):
    """A share link. Its address is shown once, when it is made."""

    id: UUID
    job_id: UUID
    scope: ShareScope
    prefix: str = Field(description="How its token begins, to tell links apart.")
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    uses: int
    created_at: datetime


class ShareMade(ShareRead):
    """A new share link: the only time that its address and token are shown."""

    url: str = Field(description="With the host that API_URL names; a path where it is not set.")
    token: str


class SharedFile(BaseModel):
    """A file of a shared job. `url` stays; each visit leads to a fresh link."""

    name: str
    asset: str
    type: str
    content_type: str
    size: int
    sha256: str | None
    url: str


class SharedRead(BaseModel):
    """What a share link shows."""

    model_id: str
    kind: str
    status: str
    scope: ShareScope
    created_at: datetime
    completed_at: datetime | None
    expires_at: datetime | None
    files: list[SharedFile]
