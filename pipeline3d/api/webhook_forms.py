"""The wire forms of webhooks: endpoints, secrets, deliveries. No rules beyond the form itself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from pipeline3d.api.bodies import Text
from pipeline3d.requests.event_types import JobEventType
from pipeline3d.requests.webhook_states import DeliveryState

BIGGEST_ID = 2**63 - 1

Address = Annotated[Text, Field(min_length=1, max_length=2048, examples=["https://shop.example.com/hooks"])]
Events = Annotated[
    list[JobEventType],
    Field(
        max_length=30,
        description="Which events are told; none named is how a job ended, whichever way.",
    ),
]
Description = Annotated[Text, Field(max_length=500)]


class WebhookCreate(BaseModel):
    """An address that wants to be told."""

    url: Address
    events: Events = []
    description: Description = ""


class WebhookPatch(BaseModel):
    """What is to change; what is not sent stays."""

    url: Address | None = None
    events: Events | None = None
    description: Description | None = None
    is_active: Annotated[bool, Field(description="False switches it off, true on again.")] | None = None


class WebhookRead(BaseModel):
    """An endpoint. `disabled_reason` says why it is off."""

    id: UUID
    url: str
    description: str
    events: list[str]
    is_active: bool
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime


class WebhookMade(WebhookRead):
    """A new endpoint with the secret that signs what it is sent."""

    secret: str


class SecretRead(BaseModel):
    """The secret that signs. Until `previous_valid_until` the one before signs as well."""

    secret: str
    previous_valid_until: datetime | None


class DeliveryQuery(BaseModel):
    """Which deliveries, and which page of them."""

    status: Annotated[list[DeliveryState], Field(max_length=4)] = []
    event: Annotated[list[JobEventType | Literal["webhook.test"]], Field(max_length=30)] = []
    cursor: Annotated[
        int | None, Field(ge=1, le=BIGGEST_ID, description="From X-Next-Cursor of the page before.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class DeliveryRead(BaseModel):
    """A message and how far it got. Without a `webhook_id` it goes to the address that the job names."""

    id: int
    message_id: Annotated[str, Field(description="What the header webhook-id says, at every attempt.")]
    webhook_id: UUID | None
    job_id: UUID | None
    event: str
    format: str
    url: Annotated[str, Field(description="Without its query, which may hold a secret.")]
    status: DeliveryState
    attempt_count: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None


class AttemptRead(BaseModel):
    """How one attempt went: the status and the beginning of the answer, or why there was none."""

    number: int
    status: int | None
    error: str | None
    milliseconds: int
    answer: str
    created_at: datetime


class DeliveryDetail(DeliveryRead):
    """A delivery with its attempts and, once there was one, with what is sent."""

    attempts: list[AttemptRead]
    body: str | None


class RecoverBody(BaseModel):
    """From when on what failed is sent again."""

    since: AwareDatetime


class RecoverReport(BaseModel):
    """How many deliveries are sent again. At the most at a time, another call takes the rest."""

    queued: int
