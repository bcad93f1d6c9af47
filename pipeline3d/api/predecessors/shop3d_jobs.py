"""The product photo system's calls: its fields to a job of ours, and our rows to its forms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.bodies import JobCreate
from pipeline3d.api.downloads import link_artifact
from pipeline3d.api.known_models import find_catalogue_model
from pipeline3d.api.predecessors.shop3d_forms import (
    Created,
    CreateModel,
    ProductJob,
    ProductResult,
    StorefrontModel,
)
from pipeline3d.api.predecessors.submitting import submit
from pipeline3d.api.services import Services
from pipeline3d.api.viewing import missing_job, read_own_job
from pipeline3d.errors import InvalidParameters, UnknownJob
from pipeline3d.requests import reading, shop3d
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.catalogue import CatalogueModel
from pipeline3d.requests.event_types import JobEventType
from pipeline3d.requests.status_words import Contract, word_for
from pipeline3d.requests.webhook_events import DEFAULT_EVENTS
from pipeline3d.values import ArtifactType, JobState, Kind

GLB = "model/gltf-binary"
ROUTE = "POST /api/models/create"
CALLBACK_EVENTS = (JobEventType.STARTED, JobEventType.PROGRESS, JobEventType.RETRYING, *DEFAULT_EVENTS)
"""The earlier worker told how far it was, and how it ended."""


async def create_model(services: Services, account: Account, body: CreateModel, key: str | None) -> Created:
    """Ask for a model of a product."""
    model = await _choose_model(services, body)
    sent = body.model_dump(
        include={"shop", "product_id", "product_handle", "variant_id", "image_urls", "quality"},
        exclude_none=True,
    )
    job = JobCreate(
        model_id=model.id,
        input_params=sent,
        metadata=body.metadata,
        webhook_url=body.callback_url,
        webhook_events=list(CALLBACK_EVENTS) if body.callback_url is not None else [],
    )
    stored = await submit(
        services,
        account,
        job,
        key,
        route=ROUTE,
        # what was sent, not what was chosen: another model may be ready when the same is sent again
        asked=body.model_dump(mode="json", exclude_defaults=True),
        callback_format=shop3d.CALLBACK_FORMAT,
    )
    status = word_for(Contract.SHOP3D, stored.status)
    return Created.model_validate(
        {
            "job_id": stored.id,
            "status": status,
            "message": f"3D model generation by {stored.model_id} is {status}.",
            "model_id": stored.model_id,
            "tier": stored.tier,
        }
    )


async def _choose_model(services: Services, body: CreateModel) -> CatalogueModel:
    """The model that is named, or the first of those for the quality that can run here.

    Where none can, the first one: what it lacks is the answer. Raises UnknownModel and InvalidParameters.
    """
    if body.model_id is not None:
        model = await find_catalogue_model(services, body.model_id)
        if model.kind is not Kind.PRODUCT_TO_3D:
            raise InvalidParameters(
                f"{model.name} makes no model of a product.",
                hint="Leave modelId out, or name a model of kind product_to_3d.",
            )
        return model
    names = shop3d.MODELS_BY_QUALITY[body.quality or shop3d.DEFAULT_QUALITY]
    models = [await find_catalogue_model(services, name) for name in names]
    return next((model for model in models if model.readiness.ready), models[0])


async def read_product_job(services: Services, account: Account, job_id: UUID) -> Row[Any]:
    """A job of the caller for a product; all others do not exist for this system."""
    row = await read_own_job(services, account, job_id)
    if row.kind != Kind.PRODUCT_TO_3D:
        raise missing_job(account, job_id, is_known=False)
    return row


async def list_product_jobs(
    services: Services, account: Account, product_id: str, shop: str | None
) -> list[ProductJob]:
    """The caller's jobs for a product and its variants."""
    return await present_jobs(
        services, await services.all(shop3d.list_of_product(account.id, product_id, shop))
    )


async def present_jobs(services: Services, rows: Sequence[Row[Any]]) -> list[ProductJob]:
    """Jobs with links to what they made."""
    made = [row.id for row in rows if row.state == JobState.SUCCEEDED]
    artifacts: dict[UUID, list[Row[Any]]] = defaultdict(list)
    if made:
        for artifact in await services.all(reading.list_artifacts(), the_jobs=made):
            artifacts[artifact.job_id].append(artifact)
    return [_present(services, row, _choose_result(artifacts[row.id])) for row in rows]


async def present_result(services: Services, row: Row[Any]) -> ProductResult:
    """What a completed job made. Raises UnknownJob where it is no longer there."""
    [job] = await present_jobs(services, [row])
    if job.model_url is None:
        raise UnknownJob(f"Job {row.id} has no result that can be downloaded.", code="no_result")
    return ProductResult.model_validate({**job.model_dump(), "job_id": job.id})


async def find_storefront_model(
    services: Services, shop: str, product_id: str, variant_id: str | None
) -> StorefrontModel:
    """The newest model of a product of a shop that is open; whatever is not there is told alike.

    Raises UnknownJob and, for ids that are none, InvalidParameters.
    """
    found = None
    username = shop3d.owner_of_shop(services.settings.storefront_shops, shop)
    if username is not None:
        found = await services.first(shop3d.find_newest_model(username, shop, product_id, variant_id))
    artifact = None if found is None else await services.first(reading.read_result(found.id))
    if found is None or artifact is None:
        raise UnknownJob(
            "This shop shows no model of this product.",
            code="unknown_product",
            hint="A model must have been completed, and the shop be open to the public lookup.",
        )
    link = link_artifact(services, found.id, artifact)
    return StorefrontModel.model_validate(
        {
            "model_url": link.download_url,
            "stable_url": shop3d.storefront_address(
                {"shop": shop, "product_id": product_id, "variant_id": variant_id}, services.settings.api_url
            ),
            "expires_in": link.expires_in,
            "product_id": found.params["product_id"],
            "variant_id": found.params.get("variant_id"),
            "completed_at": found.completed_at,
        }
    )


def _choose_result(artifacts: Iterable[Row[Any]]) -> Row[Any] | None:
    """The model among what a job stored: a GLB before others, then the newest; as `reading.read_result`."""
    models = [artifact for artifact in artifacts if artifact.type == ArtifactType.OUTPUT_MODEL]
    models.sort(key=lambda artifact: (artifact.content_type == GLB, artifact.created_at))
    return models[-1] if models else None


def _present(services: Services, row: Row[Any], result: Row[Any] | None) -> ProductJob:
    percent, step = shop3d.describe_progress(row.state, (row.progress or {}).get("stage"))
    made = shop3d.describe_made(row.params) if row.state == JobState.SUCCEEDED else {}
    params = row.params
    return ProductJob.model_validate(
        {
            "id": row.id,
            "shop": params["shop"],
            "product_id": params["product_id"],
            "product_handle": params.get("product_handle"),
            "variant_id": params.get("variant_id"),
            "status": word_for(Contract.SHOP3D, row.state),
            "progress": percent,
            "model_url": None if result is None else link_artifact(services, row.id, result).download_url,
            "error_message": shop3d.describe_failure(row.state, row.error_message),
            "metadata": {**row.metadata, **step, **made},
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "completed_at": row.completed_at,
        }
    )
