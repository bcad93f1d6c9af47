"""Shopify's webhooks of a product photo shop: signed by Shopify, so they need no key of ours.

A shop's models belong to the user with whom the operator opened it. What Shopify tells of a shop that is not
open is answered and left alone. Shopify repeats what was not answered with 200: everything here may be
repeated.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request
from fastapi.responses import PlainTextResponse

from pipeline3d.api.predecessors.errors import answering_errors_with
from pipeline3d.api.predecessors.shop3d_lifecycle import forget_models, remake_model
from pipeline3d.api.routing import Router
from pipeline3d.api.services import AppServices
from pipeline3d.errors import ModelNotReady, NotAuthenticated, RequestError

router = Router(
    prefix="/api/webhooks",
    tags=["earlier: product photos"],
    route_class=answering_errors_with(lambda problem: {"error": problem["detail"]}),
    default_response_class=PlainTextResponse,
)

Shop = Annotated[
    str, Header(alias="x-shopify-shop-domain", max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]


def is_signed(secret: str, body: bytes, signature: str) -> bool:
    """Whether Shopify signed this body: base64 of its HMAC-SHA256, compared in constant time."""
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, hmac.digest(secret.encode(), body, hashlib.sha256))


async def read_signed_body(
    request: Request,
    services: AppServices,
    signature: Annotated[str, Header(alias="x-shopify-hmac-sha256", max_length=200)] = "",
) -> dict[str, Any]:
    """What Shopify tells. 401 where it was not Shopify, 501 where the installation has no secret."""
    secret = services.settings.shopify_api_secret
    if secret is None:
        raise ModelNotReady(
            "This installation takes no webhooks of Shopify: SHOPIFY_API_SECRET is not set.",
            code="shopify_secret_missing",
            hint="Set it to the secret of the Shopify app.",
        )
    body = await request.body()
    if not is_signed(secret.get_secret_value(), body, signature):
        raise NotAuthenticated(
            "x-shopify-hmac-sha256 is not the signature of this body.",
            code="shopify_signature_wrong",
            hint="Only Shopify calls this address.",
        )
    try:
        told = json.loads(body)
    except ValueError as error:
        raise RequestError("The body is no JSON.", code="invalid_request") from error
    return told if isinstance(told, dict) else {}


Told = Annotated[Mapping[str, Any], Depends(read_signed_body)]


@router.post("/products/update")
@router.post("/products/create", include_in_schema=False)
async def product_updated(
    told: Told,
    shop: Shop,
    services: AppServices,
    regenerate: Annotated[
        bool, Query(description="Make the product's model anew where its pictures changed.")
    ] = False,
    delivery_id: Annotated[
        str | None, Header(alias="x-shopify-webhook-id", pattern=r"^[\x21-\x7e]{1,255}$")
    ] = None,
) -> str:
    """A product changed. Nothing is done, unless the webhook was registered with `?regenerate=true`."""
    if regenerate:
        await remake_model(services, shop, told, delivery_id)
    return "OK"


@router.post("/products/delete")
async def product_deleted(told: Told, shop: Shop, services: AppServices) -> str:
    """A product is gone: all its models and jobs are deleted."""
    product_id = told.get("id")
    if product_id is not None:
        await forget_models(services, shop, str(product_id))
    return "OK"


@router.post("/app/uninstalled")
async def app_uninstalled(told: Told, shop: Shop, services: AppServices) -> str:
    """The shop left: all its models and jobs are deleted."""
    await forget_models(services, shop, None)
    return "OK"
