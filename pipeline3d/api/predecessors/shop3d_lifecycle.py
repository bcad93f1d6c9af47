"""What becomes of a shop's models when its products change or go, or the shop itself does."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from pipeline3d.api.bodies import JobCreate
from pipeline3d.api.deleting import delete_job
from pipeline3d.api.predecessors.submitting import submit
from pipeline3d.api.services import Services
from pipeline3d.errors import RequestError, TransientFailure
from pipeline3d.requests import accounts, products, shop3d
from pipeline3d.requests.accounts import Account, account_of_row

LONGEST_S = 4.0
"""Shopify waits 5 seconds for an answer, and asks again for some hours."""
MOST_PHOTOS = 8
_ID = re.compile(r"[A-Za-z0-9:/._-]{1,255}")
_ADDRESS = re.compile(r"https?://\S{4,2040}")


async def forget_models(services: Services, shop: str, product_id: str | None) -> None:
    """Delete a shop's jobs, or those of one product, with all that they made.

    Raises TransientFailure while some are left: too many for one answer, or still needed by unfinished jobs.
    """
    account = await _find_owner(services, shop)
    if account is None or (product_id is not None and not _ID.fullmatch(product_id)):
        return
    until_s = time.monotonic() + LONGEST_S
    rows = await services.all(shop3d.list_to_delete(account.username, shop, product_id))
    left = len(rows) == shop3d.MOST_DELETED
    for row in rows:
        if time.monotonic() > until_s:
            left = True
            break
        try:
            await delete_job(services, account, row.id)
        except RequestError as error:
            left = left or error.code == "job_in_use"
    if left:
        raise TransientFailure(
            f"Not all jobs of {shop} are deleted yet.", code="deletion_under_way", hint="Ask again."
        )


async def remake_model(
    services: Services, shop: str, told: Mapping[str, Any], delivery_id: str | None
) -> None:
    """Make a product's model anew, as it was asked for last, where its pictures are others by now."""
    account = await _find_owner(services, shop)
    product_id, pictures = str(told.get("id", "")), _read_pictures(told)
    if account is None or not pictures or not _ID.fullmatch(product_id):
        return
    newest = await services.first(products.read_newest(account.id, products.product_key(shop, product_id)))
    if newest is None or newest.params["image_urls"] == pictures:
        return
    body = JobCreate(
        model_id=newest.model_id,
        input_params={**newest.input_params, "image_urls": pictures},
        metadata=newest.metadata,
        webhook_url=newest.callback_url,
        webhook_events=newest.callback_events,
    )
    await submit(
        services,
        account,
        body,
        delivery_id,
        route="POST /api/webhooks/products/update",
        asked=[shop, product_id, pictures],
        callback_format=newest.callback_format,
    )


async def _find_owner(services: Services, shop: str) -> Account | None:
    """Whose models the shop's are, where the operator opened it."""
    username = shop3d.owner_of_shop(services.settings.storefront_shops, shop)
    row = None if username is None else await services.first(accounts.find_user(username))
    return account_of_row(row) if row is not None and row.is_active else None


def _read_pictures(told: Mapping[str, Any]) -> list[str]:
    """The addresses of a product's pictures, in their order and each once, as many as a request may have."""
    images = told.get("images")
    sources = [
        image.get("src") for image in (images if isinstance(images, list) else []) if isinstance(image, dict)
    ]
    usable = [source for source in sources if isinstance(source, str) and _ADDRESS.fullmatch(source)]
    return list(dict.fromkeys(usable))[:MOST_PHOTOS]
