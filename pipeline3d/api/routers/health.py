"""Is the process alive, and has it what it needs?"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Response

from pipeline3d.api.bodies import Health, Readiness
from pipeline3d.api.readiness import check_dependencies
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices

router = Router(tags=["health"])


@router.get("/health")
@router.get(f"{API_PREFIX}/health", include_in_schema=False)
async def live(services: AppServices) -> Health:
    """The process answers; asks nothing else."""
    return Health(env=services.settings.project_name)


@router.get("/ready", responses={503: {"model": Readiness}})
async def ready(services: AppServices, response: Response) -> Readiness:
    """Each dependency; 503 when one is missing."""
    dependencies = await check_dependencies(services)
    all_there = all(dependency.ok for dependency in dependencies)
    if not all_there:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Readiness(
        status="ready" if all_there else "not ready",
        env=services.settings.project_name,
        dependencies=dependencies,
    )
