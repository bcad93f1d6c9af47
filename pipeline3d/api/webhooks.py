"""Webhooks of one's own: endpoints, their secrets, and what was delivered. Another's do not exist here."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Row

from pipeline3d.api.audit import audit
from pipeline3d.api.limits import store_counted
from pipeline3d.api.services import Services
from pipeline3d.api.webhook_forms import (
    AttemptRead,
    DeliveryDetail,
    DeliveryQuery,
    DeliveryRead,
    SecretRead,
    WebhookCreate,
    WebhookMade,
    WebhookPatch,
    WebhookRead,
)
from pipeline3d.errors import InvalidParameters, RequestError
from pipeline3d.outbound.addresses import check_address, show_address
from pipeline3d.requests import webhook_deliveries as deliveries
from pipeline3d.requests import webhook_secrets as secrets
from pipeline3d.requests import webhooks
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.audit import Action
from pipeline3d.requests.webhook_states import DeliveryState


async def create_endpoint(services: Services, account: Account, body: WebhookCreate) -> WebhookMade:
    """Add an endpoint. Raises for an address that is not visited, and where there are too many."""
    _check(services, body.url)
    at_most = services.settings.pipeline3d_webhooks_per_user
    creation = webhooks.create_endpoint(
        account.id,
        body.url,
        events=list(dict.fromkeys(body.events)),
        description=body.description,
        at_most=at_most,
    )
    row = await store_counted(services, account.id, creation)
    if row is None:
        raise RequestError(
            f"You have {at_most} webhooks, which is as many as there may be.",
            code="too_many_webhooks",
            hint="Delete one, or change one.",
        )
    details = {"url": show_address(body.url)}
    await audit(services, account, Action.WEBHOOK_CREATED, f"webhook:{row.id}", details)
    return WebhookMade(**_present(row).model_dump(), secret=row.secret)


async def list_endpoints(services: Services, account: Account) -> list[WebhookRead]:
    """All endpoints of the caller."""
    return [_present(row) for row in await services.all(webhooks.list_endpoints(account.id))]


async def read_endpoint(services: Services, account: Account, endpoint_id: UUID) -> WebhookRead:
    """One endpoint of the caller."""
    return _present(await _read_own(services, account, endpoint_id))


async def change_endpoint(
    services: Services, account: Account, endpoint_id: UUID, body: WebhookPatch
) -> WebhookRead:
    """Change what was sent."""
    sent = body.model_dump(exclude_none=True)
    if body.url is not None:
        _check(services, body.url)
    is_active = sent.pop("is_active", None)
    row = await services.first(webhooks.change_endpoint(account.id, endpoint_id, **sent))
    if is_active is not None:
        switch = webhooks.enable_endpoint if is_active else webhooks.disable_endpoint
        row = await services.first(switch(account.id, endpoint_id))
    if row is None:
        raise _unknown(endpoint_id)
    await audit(services, account, Action.WEBHOOK_CHANGED, f"webhook:{endpoint_id}", _described(body))
    return _present(row)


async def enable_endpoint(services: Services, account: Account, endpoint_id: UUID) -> WebhookRead:
    """Switch an endpoint on."""
    return await change_endpoint(services, account, endpoint_id, WebhookPatch(is_active=True))


async def delete_endpoint(services: Services, account: Account, endpoint_id: UUID) -> None:
    """Forget an endpoint and what was delivered to it."""
    if await services.first(webhooks.delete_endpoint(account.id, endpoint_id)) is None:
        raise _unknown(endpoint_id)
    await audit(services, account, Action.WEBHOOK_DELETED, f"webhook:{endpoint_id}")


async def read_secret(services: Services, account: Account, endpoint_id: UUID) -> SecretRead:
    """The secret of an endpoint."""
    return _present_secret(await _read_own(services, account, endpoint_id))


async def rotate_secret(services: Services, account: Account, endpoint_id: UUID) -> SecretRead:
    """A new secret for an endpoint; the one before counts for a day more."""
    row = await services.first(secrets.rotate_endpoint_secret(account.id, endpoint_id))
    if row is None:
        raise _unknown(endpoint_id)
    details = {"changed": ["secret"]}
    await audit(services, account, Action.WEBHOOK_CHANGED, f"webhook:{endpoint_id}", details)
    return _present_secret(row)


async def read_account_secret(services: Services, account: Account) -> SecretRead:
    """The secret for what single jobs name, made at the first question."""
    return _present_secret(await _one(services, secrets.ensure_account_secret(account.id)))


async def rotate_account_secret(services: Services, account: Account) -> SecretRead:
    """A new secret for what single jobs name; the one before counts for a day more."""
    row = await _one(services, secrets.rotate_account_secret(account.id))
    await audit(
        services, account, Action.WEBHOOK_CHANGED, f"user:{account.id}", {"changed": ["account secret"]}
    )
    return _present_secret(row)


async def send_test(services: Services, account: Account, endpoint_id: UUID) -> DeliveryRead:
    """Queue a test message."""
    await _read_own(services, account, endpoint_id)
    row = await services.first(deliveries.send_test(account.id, endpoint_id))
    if row is None:
        raise _switched_off()
    return _present_delivery(row)


async def list_deliveries(
    services: Services,
    account: Account,
    query: DeliveryQuery,
    *,
    endpoint_id: UUID | None = None,
    job_id: UUID | None = None,
) -> tuple[list[DeliveryRead], int | None]:
    """A page of the caller's deliveries, and the id before which the next page begins."""
    if endpoint_id is not None:
        await _read_own(services, account, endpoint_id)
    # one more, which says whether the list goes on
    page = deliveries.list_deliveries(
        account.id,
        limit=query.limit + 1,
        endpoint_id=endpoint_id,
        job_id=job_id,
        before=query.cursor,
        states=query.status,
        events=query.event,
    )
    rows = await services.all(page)
    shown = rows[: query.limit]
    return [_present_delivery(row) for row in shown], shown[-1].id if len(rows) > query.limit else None


async def read_delivery(services: Services, account: Account, delivery_id: int) -> DeliveryDetail:
    """One delivery with its attempts."""
    row = await services.first(deliveries.read_delivery(account.id, delivery_id))
    if row is None:
        raise _unknown_delivery(delivery_id)
    attempts = await services.all(deliveries.list_attempts(delivery_id))
    return DeliveryDetail(
        **_present_delivery(row).model_dump(),
        body=row.body,
        attempts=[
            AttemptRead(
                number=attempt.number,
                status=attempt.status,
                error=attempt.error,
                milliseconds=attempt.milliseconds,
                answer=attempt.answer,
                created_at=attempt.created_at,
            )
            for attempt in attempts
        ],
    )


async def redeliver(services: Services, account: Account, delivery_id: int) -> DeliveryRead:
    """Send a message once more, at once and with the same id."""
    if await services.first(deliveries.read_delivery(account.id, delivery_id)) is None:
        raise _unknown_delivery(delivery_id)
    row = await services.first(deliveries.redeliver(account.id, delivery_id))
    if row is None:
        raise _switched_off()
    return _present_delivery(row)


async def recover(services: Services, account: Account, endpoint_id: UUID, since: datetime) -> int:
    """Send again what failed since then; how many that are."""
    endpoint = await _read_own(services, account, endpoint_id)
    if not endpoint.is_active:
        raise _switched_off()
    return len(await services.all(deliveries.recover(account.id, endpoint_id, since)))


def _check(services: Services, url: str) -> None:
    check_address(url, allowed_hosts=services.settings.pipeline3d_webhook_hosts)


async def _read_own(services: Services, account: Account, endpoint_id: UUID) -> Row[Any]:
    row = await services.first(webhooks.read_endpoint(account.id, endpoint_id))
    if row is None:
        raise _unknown(endpoint_id)
    return row


async def _one(services: Services, statement: Executable) -> Row[Any]:
    row = await services.first(statement)
    if row is None:
        raise InvalidParameters("There is no such account any more.", code="unknown_user")
    return row


def _present(row: Row[Any]) -> WebhookRead:
    return WebhookRead(**{name: getattr(row, name) for name in WebhookRead.model_fields})


def _present_secret(row: Row[Any]) -> SecretRead:
    return SecretRead(secret=row.secret, previous_valid_until=row.previous_secret_until)


def _present_delivery(row: Row[Any]) -> DeliveryRead:
    # while it is being sent its time is the end of a lease, which is nobody's business
    waits = row.state == DeliveryState.PENDING and row.lease_until is None
    return DeliveryRead(
        id=row.id,
        message_id=row.message_id,
        webhook_id=row.endpoint_id,
        job_id=row.job_id,
        event=row.event,
        format=row.format,
        url=show_address(row.url),  # its query may hold a secret, and lists of deliveries get copied
        status=row.state,
        attempt_count=row.attempts,
        next_attempt_at=row.next_attempt_at if waits else None,
        last_status=row.last_status,
        last_error=row.last_error,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
    )


def _described(body: WebhookPatch) -> dict[str, Any]:
    """What a change was, for the log: an address may hold a secret in its query."""
    changed = body.model_dump(mode="json", exclude_none=True)
    return {**changed, "url": show_address(body.url)} if body.url is not None else changed


def _unknown(endpoint_id: UUID) -> RequestError:
    return RequestError(
        f"There is no webhook {endpoint_id}.",
        code="unknown_webhook",
        hint="GET /api/v1/webhooks lists yours.",
    )


def _unknown_delivery(delivery_id: int) -> RequestError:
    return RequestError(
        f"There is no delivery {delivery_id}.",
        code="unknown_delivery",
        hint="They are kept for some weeks; GET /api/v1/webhooks/deliveries lists yours.",
    )


def _switched_off() -> RequestError:
    return RequestError(
        "The webhook is switched off.",
        code="webhook_disabled",
        hint="Switch it on first: POST /api/v1/webhooks/{id}/enable.",
    )
