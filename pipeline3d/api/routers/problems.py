"""What the codes of refusals and failures mean: the page that every problem's `type` leads to."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.responses import HTMLResponse, RedirectResponse

from pipeline3d.api.bodies import ProblemCodeRead
from pipeline3d.api.problem_codes import load_problem_codes, render_page
from pipeline3d.api.routing import API_PREFIX, Router

router = Router(tags=["service"])

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "public, max-age=3600",
}


@router.get("/problems", include_in_schema=False)
async def show_problems() -> HTMLResponse:
    """All codes, for people."""
    return HTMLResponse(render_page(load_problem_codes()), headers=PAGE_HEADERS)


@router.get("/problems/{code}", include_in_schema=False)
async def show_problem(code: Annotated[str, Path(pattern=r"^[a-z0-9_]{1,100}$")]) -> RedirectResponse:
    """Where a problem's `type` leads."""
    return RedirectResponse(f"/problems#{code}", headers=PAGE_HEADERS)


@router.get(f"{API_PREFIX}/problems")
async def list_problems() -> list[ProblemCodeRead]:
    """All codes, for programs."""
    return [
        ProblemCodeRead(
            code=code.code,
            where=code.where,
            status=code.status,
            meaning=code.meaning,
            remedy=code.remedy,
        )
        for code in load_problem_codes()
    ]
