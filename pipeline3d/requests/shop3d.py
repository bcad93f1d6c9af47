"""The product photo system's way of seeing a request: its words, its progress, its callback, its look-ups.

A caller of that system names a shop, a product and perhaps a variant, and knows jobs as `pending`,
`processing`, `completed` or `failed`. Nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select

from pipeline3d.database.tables import jobs, models, users
from pipeline3d.requests.products import KEY, product_key
from pipeline3d.requests.reading import IS_VISIBLE
from pipeline3d.requests.status_words import Contract, word_for
from pipeline3d.values import JobState, Kind

ANY_SHOP = "*"
CALLBACK_FORMAT = "shop3d"
STOREFRONT_FILE = "/api/models/storefront.glb"
MOST_LISTED = 100
MOST_DELETED = 1000
"""Jobs that one look-up of those to delete brings; it is repeated until it brings none."""

MODELS_BY_QUALITY: dict[str, tuple[str, ...]] = {
    "fast": ("product-triposr-v1", "product-inflate-v1"),
    "balanced": ("product-triposr-v1", "product-inflate-v1"),
    # Who asks for the best gets that, or the reason why not.
    "quality": ("product-triposr-v1",),
}
"""Which models make a quality; the first that can run here is taken, and the answer names it."""
DEFAULT_QUALITY = "balanced"

STARTED_PERCENT = 5
_STEPS: tuple[tuple[int, str, str, frozenset[str]], ...] = (
    (
        10,
        "preprocessing",
        "Downloading and preprocessing images",
        frozenset({"product_photos", "source_image", "preprocessed_image"}),
    ),
    (50, "generation", "Running 3D generation", frozenset({"scene_code", "mesh"})),
)
_LAST_STEP = (85, "upload", "Uploading model to storage")


def describe_progress(state: str, stage: str | None) -> tuple[int, dict[str, str]]:
    """The percentage and the step that the earlier worker told at this stage of ours."""
    if state == JobState.SUCCEEDED:
        return 100, {}
    if state == JobState.QUEUED or stage is None:
        return (0 if state == JobState.QUEUED else STARTED_PERCENT), {}
    for percent, step, message, stages in _STEPS:
        if stage in stages:
            return percent, {"step": step, "message": message}
    percent, step, message = _LAST_STEP
    return percent, {"step": step, "message": message}


def describe_failure(state: str, message: str | None) -> str | None:
    """Why there is no model, in a sentence; None while there may be one."""
    if state == JobState.CANCELED:
        return "The job was canceled."
    if state == JobState.EXPIRED:
        return "The job's deadline passed before it began."
    return (message or "The job failed.") if state == JobState.FAILED else None


def storefront_address(params: Mapping[str, Any], api_url: str | None = None) -> str:
    """The address under which a product's newest model always is, for shops that are open to the public."""
    names = {"shop": "shop", "product_id": "productId", "variant_id": "variantId"}
    query = {names[name]: params[name] for name in names if params.get(name) is not None}
    return f"{(api_url or '').rstrip('/')}{STOREFRONT_FILE}?{urlencode(query)}"


def build_callback(
    job_id: str,
    state: str,
    params: Mapping[str, Any],
    *,
    stage: str | None,
    error: Mapping[str, Any] | None,
    metadata: Mapping[str, Any],
    api_url: str | None = None,
) -> dict[str, Any]:
    """What the earlier worker sent to its callback, of a job as it was at one line of its history.

    `modelUrl` stays the same however often the product is made anew.
    """
    percent, step = describe_progress(state, stage)
    body: dict[str, Any] = {"jobId": job_id, "status": word_for(Contract.SHOP3D, state)}
    told = {**metadata, **step}
    failure = describe_failure(state, (error or {}).get("message"))
    if failure is not None:
        body["errorMessage"] = failure
        told = {**metadata, "error_type": (error or {}).get("code") or state.lower()}
    else:
        body["progress"] = percent  # a failed job had none: it stood where it failed
    if state == JobState.SUCCEEDED:
        body["modelUrl"] = storefront_address(params, api_url)
        told |= describe_made(params)
    return {**body, "metadata": told}


def describe_made(params: Mapping[str, Any]) -> dict[str, Any]:
    """What the earlier worker told of a model that it had made."""
    return {
        "quality": params.get("quality"),
        "images_processed": len(params.get("image_urls", ())),
        "product_handle": params.get("product_handle"),
    }


def owner_of_shop(opened: Mapping[str, str], shop: str) -> str | None:
    """The name of the user whose models a shop shows to everybody; None for a shop that is not open."""
    return opened.get(shop.lower()) or opened.get(ANY_SHOP)


def find_newest_model(
    username: str, shop: str, product_id: str, variant_id: str | None = None
) -> Select[Any]:
    """A user's newest finished request for a product (and any variant), or for one variant.

    Raises InvalidParameters for ids that are none.
    """
    key = _key()
    wanted = product_key(shop, product_id, variant_id)
    of_product = key == wanted
    if variant_id is None:
        of_product = or_(of_product, _begins(key, wanted + "/"))
    # written as the index has it
    finished = jobs.c.state == literal_column(f"'{JobState.SUCCEEDED.value}'")
    return (
        select(jobs, models.c.tier)
        .join(models)
        .join(users, users.c.id == jobs.c.user_id)
        .where(users.c.username == username, users.c.is_active, _is_product(), finished, IS_VISIBLE)
        .where(of_product)
        .order_by(jobs.c.completed_at.desc(), jobs.c.id.desc())
        .limit(1)
    )


def list_of_product(user_id: UUID, product_id: str, shop: str | None = None) -> Select[Any]:
    """A user's requests for a product, of whichever variant (and shop, where none is named), newest first."""
    key = _key()
    _, _, product = product_key("any", product_id).partition("/")
    wanted = [func.split_part(key, "/", 2) == product]
    if shop is not None:
        wanted.append(func.split_part(key, "/", 1) == shop.lower())
    return (
        select(jobs, models.c.tier)
        .join(models)
        .where(jobs.c.user_id == user_id, _is_product(), IS_VISIBLE, *wanted)
        .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        .limit(MOST_LISTED)
    )


def list_to_delete(username: str, shop: str, product_id: str | None = None) -> Select[Any]:
    """Up to `MOST_DELETED` requests of a user for a shop, or for one product of it: their ids and owner."""
    key = _key()
    of_shop: ColumnElement[bool] = func.split_part(key, "/", 1) == shop.lower()
    if product_id is not None:
        _, _, product = product_key(shop, product_id).partition("/")
        of_shop = and_(of_shop, func.split_part(key, "/", 2) == product)
    return (
        select(jobs.c.id, jobs.c.user_id)
        .join(users, users.c.id == jobs.c.user_id)
        .where(users.c.username == username, _is_product(), IS_VISIBLE, of_shop)
        .order_by(jobs.c.created_at, jobs.c.id)
        .limit(MOST_DELETED)
    )


def _key() -> ColumnElement[Any]:
    # Written as the indexes have it, not bound, so that Postgres sees that they are the same.
    key: ColumnElement[Any] = jobs.c.params[literal_column(f"'{KEY}'")].astext
    return key


def _is_product() -> ColumnElement[bool]:
    return jobs.c.kind == literal_column(f"'{Kind.PRODUCT_TO_3D.value}'")


def _begins(key: ColumnElement[Any], beginning: str) -> ColumnElement[bool]:
    """Whether a key begins so, asked in a way that the index answers even in a prepared statement."""
    after = beginning[:-1] + chr(ord(beginning[-1]) + 1)
    return and_(key.op("~>=~", is_comparison=True)(beginning), key.op("~<~", is_comparison=True)(after))
