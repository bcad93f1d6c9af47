"""Paths of the API: each is declared once, and found with and without a slash at its end.

Both spellings are the same path: a redirect from one to the other would lose the body in some clients. The
schema has the spelling that was declared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

API_PREFIX = "/api/v1"


class EitherSlashRoute(APIRoute):
    """A route that is found with and without a slash at the end of its path."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        declared = self.path_regex.pattern.removesuffix("$").removesuffix("/")
        self.path_regex = re.compile(f"{declared}/?$")


class Router(APIRouter):
    """Routes of one subject, each found in both spellings. Their `prefix` is all of it, from / on."""

    def __init__(self, *, route_class: type[APIRoute] = EitherSlashRoute, **options: Any) -> None:
        super().__init__(route_class=route_class, **options)


def add_routers(app: FastAPI, *routers: Router) -> None:
    """Let the application answer the paths of these routers, which are tried in their order.

    `include_router` would read the declaration of every route once more for each application, and look for a
    route twice for each request.
    """
    for router in routers:
        app.router.routes.extend(router.routes)
