"""Products: the current model of a shop's product, and its versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from pipeline3d.api.auth import Reader
from pipeline3d.api.bodies import ProductRead, Text, VersionRead
from pipeline3d.api.downloads import link_result
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices
from pipeline3d.api.viewing import view_jobs
from pipeline3d.errors import UnknownJob
from pipeline3d.requests import products

router = Router(prefix=f"{API_PREFIX}/products", tags=["products"])

Part = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")]
MOST_VERSIONS = 50


@router.get("/{shop}/{product_id}")
async def read_product(
    shop: Part,
    product_id: Part,
    account: Reader,
    services: AppServices,
    variant_id: Annotated[Annotated[Text, Query(min_length=1, max_length=255)] | None, Query()] = None,
) -> ProductRead:
    """The current model of a product (or of one variant), with a link to it, and what is being made."""
    key = products.product_key(shop, product_id, variant_id)
    newest = await services.first(products.read_newest(account.id, key))
    if newest is None:
        raise UnknownJob(
            f"No model of {key} was ever asked for.",
            code="unknown_product",
            hint="Create a job of a model of kind product_to_3d.",
        )
    versions = await services.all(products.list_versions(account.id, key, limit=MOST_VERSIONS))
    [newest_job] = await view_jobs(services, [newest])
    current = versions[0] if versions else None
    return ProductRead(
        product_key=key,
        current=None if current is None else await link_result(services, current),
        current_version=None if current is None else current.version,
        newest_job=newest_job,
        versions=[
            VersionRead(
                version=row.version, job_id=row.id, model_id=row.model_id, completed_at=row.completed_at
            )
            for row in versions
        ],
    )
