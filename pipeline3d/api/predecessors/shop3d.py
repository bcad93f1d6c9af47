"""The product photo system's routes, under the paths that its callers know."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Header, Path, Query, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BeforeValidator

from pipeline3d.api.auth import Reader, Writer
from pipeline3d.api.predecessors.errors import answering_errors_with
from pipeline3d.api.predecessors.shop3d_forms import (
    Created,
    CreateModel,
    NotCompleted,
    ProductJob,
    ProductJobs,
    ProductResult,
    StorefrontModel,
)
from pipeline3d.api.predecessors.shop3d_jobs import (
    create_model,
    find_storefront_model,
    list_product_jobs,
    present_jobs,
    present_result,
    read_product_job,
)
from pipeline3d.api.problems import PROBLEM_TYPE
from pipeline3d.api.routing import Router
from pipeline3d.api.schema import PROBLEM_SCHEMA
from pipeline3d.api.services import AppServices
from pipeline3d.requests.status_words import Contract, word_for
from pipeline3d.values import JobState

LONGEST_CACHED_S = 60

router = Router(
    prefix="/api/models",
    tags=["earlier: product photos"],
    route_class=answering_errors_with(
        lambda problem: {"error": problem["detail"]},
        {HTTPStatus.UNPROCESSABLE_ENTITY: HTTPStatus.BAD_REQUEST},
    ),
)

Shop = Annotated[str, Query(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_ID = r"^[A-Za-z0-9:/._-]+$"
Product = Annotated[str, Query(alias="productId", min_length=1, max_length=255, pattern=_ID)]
ProductInPath = Annotated[
    str, BeforeValidator(lambda sent: sent.rstrip("/")), Path(min_length=1, max_length=255, pattern=_ID)
]
Variant = Annotated[
    # pages send it empty where there is none
    Annotated[str, Query(max_length=255, pattern=_ID)] | None,
    BeforeValidator(lambda sent: sent or None),
    Query(alias="variantId"),
]


@router.post("/create")
async def create(
    body: CreateModel,
    account: Writer,
    services: AppServices,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Created:
    """Ask for a model of a product, of its photos' addresses."""
    return await create_model(services, account, body, idempotency_key)


@router.get("/status/{job_id}")
async def read_status(job_id: UUID, account: Reader, services: AppServices) -> ProductJob:
    """A job as it stands."""
    [job] = await present_jobs(services, [await read_product_job(services, account, job_id)])
    return job


@router.get(
    "/result/{job_id}",
    response_model=ProductResult,
    responses={
        400: {
            "model": NotCompleted,
            "description": "There is no model, or none yet.",
            "content": {PROBLEM_TYPE: {"schema": PROBLEM_SCHEMA}},
        }
    },
)
async def read_result(job_id: UUID, account: Reader, services: AppServices) -> ProductResult | JSONResponse:
    """The model that a completed job made."""
    row = await read_product_job(services, account, job_id)
    if row.state != JobState.SUCCEEDED:
        [job] = await present_jobs(services, [row])
        refusal = NotCompleted.model_validate(
            {
                "status": word_for(Contract.SHOP3D, row.state),
                "code": row.error_code or "not_finished",
                "error_message": job.error_message,
            }
        )
        return JSONResponse(refusal.model_dump(mode="json", by_alias=True), HTTPStatus.BAD_REQUEST)
    return await present_result(services, row)


@router.get("/product/{product_id:path}")
async def read_product(
    product_id: ProductInPath, account: Reader, services: AppServices, shop: Shop | None = None
) -> ProductJobs:
    """The caller's newest jobs for a product, of all its variants."""
    return ProductJobs(jobs=await list_product_jobs(services, account, product_id, shop))


@router.get("/storefront.glb", response_class=RedirectResponse, status_code=307)
async def open_storefront_file(
    shop: Shop, product_id: Product, services: AppServices, variant_id: Variant = None
) -> RedirectResponse:
    """A product's newest model itself: an address that stays, for pages of an open shop."""
    found = await find_storefront_model(services, shop, product_id, variant_id)
    return RedirectResponse(found.model_url, HTTPStatus.TEMPORARY_REDIRECT, _for_everybody(found))


@router.get("/storefront/{product_id:path}")
async def read_storefront(
    product_id: ProductInPath,
    shop: Shop,
    services: AppServices,
    response: Response,
    variant_id: Variant = None,
) -> StorefrontModel:
    """A product's newest model, for everybody, where the shop is open."""
    found = await find_storefront_model(services, shop, product_id, variant_id)
    response.headers.update(_for_everybody(found))
    return found


def _for_everybody(found: StorefrontModel) -> dict[str, str]:
    """Any page may read it; whoever keeps it forgets it while the link still works."""
    age_s = min(LONGEST_CACHED_S, found.expires_in // 2)
    return {"Access-Control-Allow-Origin": "*", "Cache-Control": f"public, max-age={age_s}"}
