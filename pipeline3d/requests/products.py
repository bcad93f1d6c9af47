"""Models of a shop's products: under which key they are found, and their versions.

A version is a request that succeeded. The current one is the newest of them, so that while a new one is made,
or after it has failed, the one before is still there: there is never a moment without a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, select

from pipeline3d.database.tables import jobs, models
from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.reading import IS_VISIBLE
from pipeline3d.values import JobState, Kind

KEY = "product_key"
"""The parameter that holds the key; made here, never sent."""


def with_product_key(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a product's request with the key under which its model is found."""
    key = product_key(params["shop"], params["product_id"], params.get("variant_id"))
    return {**params, KEY: key}


def product_key(shop: str, product_id: str, variant_id: str | None = None) -> str:
    """`shop/product` or `shop/product/variant`; of `gid://shopify/Product/123` the 123.

    Raises InvalidParameters where an id has nothing after its last slash.
    """
    parts = [shop.lower(), _last_part("product_id", product_id)]
    if variant_id is not None:
        parts.append(_last_part("variant_id", variant_id))
    return "/".join(parts)


def _is_of(user_id: UUID, key: str) -> ColumnElement[bool]:
    # Written as the index has it, not bound, so that Postgres sees that they are the same.
    kind = jobs.c.kind == literal_column(f"'{Kind.PRODUCT_TO_3D.value}'")
    is_key = jobs.c.params[literal_column(f"'{KEY}'")].astext == key
    return and_(jobs.c.user_id == user_id, kind, is_key, IS_VISIBLE)


def _last_part(name: str, value: str) -> str:
    last = value.rpartition("/")[2]
    if not last:
        raise InvalidParameters(f"{name} is {value!r}, which ends with a slash.", hint="Send the id itself.")
    return last


def list_versions(user_id: UUID, key: str, *, limit: int) -> Select[Any]:
    """A user's requests for a product that succeeded, newest first, each with its `version` from 1."""
    numbered = (
        select(jobs.c.id, func.row_number().over(order_by=(jobs.c.completed_at, jobs.c.id)).label("version"))
        .where(_is_of(user_id, key), jobs.c.state == JobState.SUCCEEDED)
        .subquery("numbered")
    )
    return (
        select(jobs, models.c.tier, numbered.c.version)
        .join(models)
        .join(numbered, numbered.c.id == jobs.c.id)
        .order_by(numbered.c.version.desc())
        .limit(limit)
    )


def read_newest(user_id: UUID, key: str) -> Select[Any]:
    """A user's newest request for a product, whatever became of it."""
    return (
        select(jobs, models.c.tier)
        .join(models)
        .where(_is_of(user_id, key))
        .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        .limit(1)
    )
