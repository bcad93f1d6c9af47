"""Webhooks: who is told what happens to one's jobs, and what became of each message."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Query, Request, Response

from pipeline3d.api import webhooks
from pipeline3d.api.auth import allowed
from pipeline3d.api.cursors import point_onwards
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices
from pipeline3d.api.viewing import read_own_job
from pipeline3d.api.webhook_forms import (
    BIGGEST_ID,
    DeliveryDetail,
    DeliveryQuery,
    DeliveryRead,
    RecoverBody,
    RecoverReport,
    SecretRead,
    WebhookCreate,
    WebhookMade,
    WebhookPatch,
    WebhookRead,
)
from pipeline3d.requests.accounts import Account
from pipeline3d.values import Scope

router = Router(prefix=API_PREFIX, tags=["webhooks"])

Keeper = Annotated[Account, Depends(allowed(Scope.WEBHOOKS_WRITE))]
DeliveryId = Annotated[int, Path(ge=1, le=BIGGEST_ID)]


@router.get("/webhooks")
async def list_webhooks(account: Keeper, services: AppServices) -> list[WebhookRead]:
    """One's own endpoints, oldest first."""
    return await webhooks.list_endpoints(services, account)


@router.post("/webhooks", status_code=HTTPStatus.CREATED)
async def create_webhook(body: WebhookCreate, account: Keeper, services: AppServices) -> WebhookMade:
    """Add an endpoint. Its `secret` signs what it is sent."""
    return await webhooks.create_endpoint(services, account, body)


@router.get("/webhooks/secret")
async def read_account_secret(account: Keeper, services: AppServices) -> SecretRead:
    """The secret that signs what goes to the `webhook_url` of single jobs."""
    return await webhooks.read_account_secret(services, account)


@router.post("/webhooks/secret/rotate")
async def rotate_account_secret(account: Keeper, services: AppServices) -> SecretRead:
    """Change it. For 24 hours messages carry the signature of the one before, too."""
    return await webhooks.rotate_account_secret(services, account)


@router.get("/webhooks/deliveries")
async def list_all_deliveries(
    account: Keeper,
    services: AppServices,
    request: Request,
    response: Response,
    query: Annotated[DeliveryQuery, Query()],
) -> list[DeliveryRead]:
    """Everything that was or is to be delivered, newest first, to endpoints and for single jobs."""
    shown, following = await webhooks.list_deliveries(services, account, query)
    _point_onwards(request, response, following)
    return shown


@router.get("/webhooks/deliveries/{delivery_id}")
async def read_delivery(delivery_id: DeliveryId, account: Keeper, services: AppServices) -> DeliveryDetail:
    """One delivery with its attempts and what is sent."""
    return await webhooks.read_delivery(services, account, delivery_id)


@router.post("/webhooks/deliveries/{delivery_id}/redeliver", status_code=HTTPStatus.ACCEPTED)
async def redeliver(delivery_id: DeliveryId, account: Keeper, services: AppServices) -> DeliveryRead:
    """Send it once more, at once, with the same `webhook-id` and the same bytes."""
    return await webhooks.redeliver(services, account, delivery_id)


@router.get("/webhooks/{webhook_id}")
async def read_webhook(webhook_id: UUID, account: Keeper, services: AppServices) -> WebhookRead:
    """One endpoint."""
    return await webhooks.read_endpoint(services, account, webhook_id)


@router.patch("/webhooks/{webhook_id}")
async def change_webhook(
    webhook_id: UUID, body: WebhookPatch, account: Keeper, services: AppServices
) -> WebhookRead:
    """Change what is sent. Messages that wait go to the new address."""
    return await webhooks.change_endpoint(services, account, webhook_id, body)


@router.delete("/webhooks/{webhook_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_webhook(webhook_id: UUID, account: Keeper, services: AppServices) -> None:
    """Forget an endpoint with its deliveries."""
    await webhooks.delete_endpoint(services, account, webhook_id)


@router.get("/webhooks/{webhook_id}/secret")
async def read_secret(webhook_id: UUID, account: Keeper, services: AppServices) -> SecretRead:
    """The secret that signs what this endpoint is sent."""
    return await webhooks.read_secret(services, account, webhook_id)


@router.post("/webhooks/{webhook_id}/rotate-secret")
async def rotate_secret(webhook_id: UUID, account: Keeper, services: AppServices) -> SecretRead:
    """Change it. For 24 hours messages carry the signature of the one before, too."""
    return await webhooks.rotate_secret(services, account, webhook_id)


@router.post("/webhooks/{webhook_id}/test", status_code=HTTPStatus.ACCEPTED)
async def send_test(webhook_id: UUID, account: Keeper, services: AppServices) -> DeliveryRead:
    """Send a `webhook.test` now. What came of it is in the delivery's attempts a moment later."""
    return await webhooks.send_test(services, account, webhook_id)


@router.post("/webhooks/{webhook_id}/enable")
async def enable_webhook(webhook_id: UUID, account: Keeper, services: AppServices) -> WebhookRead:
    """Switch it on again, whoever switched it off. What was missed: `recover`."""
    return await webhooks.enable_endpoint(services, account, webhook_id)


@router.post("/webhooks/{webhook_id}/recover", status_code=HTTPStatus.ACCEPTED)
async def recover(
    webhook_id: UUID, body: RecoverBody, account: Keeper, services: AppServices
) -> RecoverReport:
    """Send again all that failed since then."""
    return RecoverReport(queued=await webhooks.recover(services, account, webhook_id, body.since))


@router.get("/webhooks/{webhook_id}/deliveries")
async def list_deliveries(
    webhook_id: UUID,
    account: Keeper,
    services: AppServices,
    request: Request,
    response: Response,
    query: Annotated[DeliveryQuery, Query()],
) -> list[DeliveryRead]:
    """What was or is to be delivered to this endpoint, newest first."""
    shown, following = await webhooks.list_deliveries(services, account, query, endpoint_id=webhook_id)
    _point_onwards(request, response, following)
    return shown


@router.get("/jobs/{job_id}/webhooks")
async def list_deliveries_of_job(
    job_id: UUID,
    account: Keeper,
    services: AppServices,
    request: Request,
    response: Response,
    query: Annotated[DeliveryQuery, Query()],
) -> list[DeliveryRead]:
    """What was or is to be told of this job, newest first, to whomever."""
    await read_own_job(services, account, job_id)
    shown, following = await webhooks.list_deliveries(services, account, query, job_id=job_id)
    _point_onwards(request, response, following)
    return shown


def _point_onwards(request: Request, response: Response, following: int | None) -> None:
    """Say where the list goes on, as the list of jobs does."""
    if following is not None:
        query = request.query_params.multi_items()
        response.headers.update(point_onwards(request.url.path, query, str(following)))
