"""The HTTP API as one application. Reads the settings once; connects when it is first asked something."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline

import pipeline3d
from pipeline3d.api.middleware import RequestGuard
from pipeline3d.api.predecessors import audio, image_queues, shop3d, shopify
from pipeline3d.api.problems import add_problem_handlers
from pipeline3d.api.routers import (
    accounts,
    admin,
    artifacts,
    dagster,
    events,
    health,
    jobs,
    keys,
    models,
    pages,
    previews,
    problems,
    products,
    sessions,
    shares,
    submitting,
    uploads,
    webhooks,
)
from pipeline3d.api.routing import API_PREFIX, add_routers
from pipeline3d.api.schema import use_described_schema
from pipeline3d.api.security_headers import SecurityHeaders
from pipeline3d.api.services import Services, build_services
from pipeline3d.api.shortcut import JobShortcut
from pipeline3d.api.stopping import calling_on_stop
from pipeline3d.api.upload_forms import FORM_OVERHEAD_BYTES
from pipeline3d.errors import Pipeline3dError
from pipeline3d.log_masking import mask_logs
from pipeline3d.settings import Settings, load_settings

logger = logging.getLogger("pipeline3d.api")

STATIC = Path(__file__).parent / "static"
TAKEN_HEADERS = [
    *("x-api-key", "authorization", "content-type", "idempotency-key", "last-event-id"),
    *("prefer", "if-none-match", "x-request-id"),
]
"""What pages of other origins may send. X-CSRF-Token is for our own pages, which need no leave."""
EXPOSED_HEADERS = [
    *("X-Request-ID", "Retry-After", "Idempotency-Replayed", "ETag", "Preference-Applied", "Location"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    *("Link", "X-Next-Cursor", "X-Total-Count", "X-Total-Capped", "Content-Disposition"),
]
ROUTERS = (
    # Those that are asked most come first, for routes are tried in their order.
    *(submitting.router, jobs.router),
    *(health.router, pages.router, problems.router, previews.router, shares.public_router),
    *(accounts.router, sessions.router, keys.router, admin.router, uploads.router, events.router),
    *(artifacts.router, shares.router, models.router, products.router, webhooks.router),
    # under the paths that the callers of earlier systems know
    *(image_queues.router, shop3d.router, shopify.router, audio.router),
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Without settings they are read from the environment; `SettingsError` if wrong."""
    mask_logs()
    settings = settings or load_settings()
    services = build_services(settings)
    # The pages of the docs come from here, not from a content network: they work without the internet.
    app = FastAPIOffline(
        title=settings.project_name,
        version=getattr(pipeline3d, "__version__", "0.1.0"),
        summary="Ask for a 3D model, watch it being made, download it.",
        lifespan=_lifespan,
        redirect_slashes=False,  # both spellings of a path are answered
    )
    app.state.services = services
    add_problem_handlers(app)
    app.add_middleware(JobShortcut, handlers=app.exception_handlers)
    app.add_middleware(RequestGuard, settings=settings, larger_bodies=_larger_bodies(settings))
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.backend_cors_origins,
        allow_credentials=True,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=TAKEN_HEADERS,
        expose_headers=EXPOSED_HEADERS,
    )
    app.add_middleware(SecurityHeaders, settings=settings)
    add_routers(app, *ROUTERS)
    app.include_router(dagster.router)
    use_described_schema(app)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _larger_bodies(settings: Settings) -> dict[str, int]:
    """The paths that take more than parameters, each with its most bytes."""
    return {
        f"{API_PREFIX}/uploads": settings.direct_upload_max_bytes + FORM_OVERHEAD_BYTES,
        f"{API_PREFIX}/jobs/batch": settings.max_batch_bytes,
    }


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    try:
        await services.ask_store(services.store.ensure_bucket)
    except Pipeline3dError as error:
        # The API starts without its store, says so at /ready and answers 503 until it is there.
        logger.warning("%s", error)
    services.access.start()
    # What was made until now stays for ever. Looking through all of it again and again would stop answers
    # for tens of milliseconds: the collector is told to leave it alone.
    gc.collect()
    gc.freeze()
    with calling_on_stop(services.events.end_streams):
        yield
    await services.close()
