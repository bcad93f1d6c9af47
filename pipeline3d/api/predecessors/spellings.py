"""Paths with and without a slash at their end, as everywhere in this API."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute


def accept_slashes(router: APIRouter) -> None:
    """Answer every path of the router with a slash at its end too; the schema has the plain spelling."""
    for route in list(router.routes):
        if isinstance(route, APIRoute) and not route.path.endswith(":path}"):
            router.add_api_route(
                route.path.removeprefix(router.prefix) + "/",
                route.endpoint,
                methods=list(route.methods or ()),
                status_code=route.status_code,
                response_model=route.response_model,
                response_class=route.response_class,
                include_in_schema=False,
            )
