"""The pages for people: the root and the studio."""

from __future__ import annotations

from pathlib import Path

from fastapi.responses import FileResponse

from pipeline3d.api.routing import Router
from pipeline3d.api.services import AppServices

router = Router()

STUDIO = Path(__file__).parent.parent / "static" / "studio.html"


@router.get("/", tags=["health"])
async def root(services: AppServices) -> dict[str, str]:
    """What this is, and where to look."""
    return {
        "message": f"{services.settings.project_name} is running.",
        "docs": "/docs",
        "studio": "/studio",
        "health": "/health",
    }


@router.get("/studio", include_in_schema=False)
async def studio(services: AppServices) -> FileResponse:
    """The studio page. It may talk to this service and to the object store, and to nobody else."""
    store = services.store.public_origin
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"connect-src 'self' {store}; img-src 'self' blob: {store}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
    }
    return FileResponse(STUDIO, media_type="text/html", headers=headers)
