"""The wire forms of the product photo system, in its own spelling."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pipeline3d.api.bodies import Json, Text

Status = Literal["pending", "processing", "completed", "failed"]
Name = Annotated[Text, Field(min_length=1, max_length=255)]


class _Form(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, protected_namespaces=())


class CreateModel(_Form):
    """A model of a product. `shop` and `imageUrls` came from the Shopify session before."""

    shop: Name = Field(examples=["mugs.myshopify.com"])
    product_id: Name = Field(examples=["gid://shopify/Product/123"])
    product_handle: Annotated[Text, Field(max_length=255)] | None = None
    variant_id: Name | None = None
    image_urls: list[Annotated[Text, Field(max_length=2048)]] = Field(
        min_length=1, max_length=8, examples=[["https://cdn.shopify.com/mug.jpg"]]
    )
    quality: Literal["fast", "balanced", "quality"] | None = Field(
        None, description="Decides which models may make it: see docs/moving.md. Without it balanced."
    )
    model_id: Name | None = Field(None, description="One model of kind product_to_3d, whatever the quality.")
    metadata: Json = Field(default_factory=dict, description="Kept and returned as it is.")
    callback_url: Annotated[Text, Field(max_length=2048)] | None = Field(
        None, description="Told of progress and of the end, in the form of the earlier worker, signed."
    )


class Created(_Form):
    """A job was made."""

    success: Literal[True] = True
    job_id: UUID
    status: Status
    message: str
    model_id: str = Field(description="Which model makes it.")
    tier: str = Field(description="embedded: it needs no weights and is no trained model.")


class ProductJob(_Form):
    """A job as it stands. `modelUrl` is a link that lasts a while, made anew at each reading."""

    id: UUID
    shop: str
    product_id: str
    product_handle: str | None
    variant_id: str | None
    status: Status
    progress: int
    model_url: str | None
    error_message: str | None
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


class ProductJobs(_Form):
    """A product's jobs, newest first."""

    jobs: list[ProductJob]


class ProductResult(_Form):
    """The model that a job made."""

    job_id: UUID
    status: Status
    model_url: str
    product_id: str
    variant_id: str | None
    completed_at: datetime | None


class NotCompleted(_Form):
    """The job has no model, or none yet: `status` says which."""

    error: Literal["Job not completed"] = "Job not completed"
    status: Status
    code: str
    error_message: str | None


class StorefrontModel(_Form):
    """A product's newest model, for everybody. `modelUrl` lasts `expiresIn` seconds, `stableUrl` for ever."""

    model_url: str
    stable_url: str
    expires_in: int
    product_id: str
    variant_id: str | None
    completed_at: datetime | None
