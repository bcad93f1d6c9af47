"""Lists and counts of one's own jobs: pages, where they go on, and a limit on how long a search may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Row, func, select
from sqlalchemy.exc import DBAPIError

from pipeline3d.api.cursors import digest_query, point_onwards, read_cursor, write_cursor
from pipeline3d.api.list_forms import JobChoice, JobCounts, JobListQuery
from pipeline3d.api.services import Services
from pipeline3d.errors import InvalidParameters
from pipeline3d.requests import listing
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.listing import MOST_COUNTED, Place

LONGEST_SEARCH_MS = 3000
"""Longer than any page that an index serves; whoever searches a long history says in which part of it."""

_QUERY_CANCELED = "57014"
_PAGE_NAMES = frozenset({"cursor", "limit", "skip", "include_total"})
"""What may differ from page to page of one list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """A page of jobs, and where the list goes on; `total` only where it was asked for."""

    rows: list[Row[Any]]
    next_cursor: str | None
    total: int | None = None

    def headers(self, path: str, query: Iterable[tuple[str, str]]) -> dict[str, str]:
        """What is said of the page beside its jobs; the link has the same filters as the query."""
        headers: dict[str, str] = {}
        if self.next_cursor is not None:
            headers |= point_onwards(path, query, self.next_cursor)
        if self.total is not None:
            headers["X-Total-Count"] = str(min(self.total, MOST_COUNTED))
            if self.total > MOST_COUNTED:
                headers["X-Total-Capped"] = "true"
        return headers


async def list_jobs(services: Services, account: Account, query: JobListQuery) -> JobPage:
    """A page of the caller's jobs. Raises InvalidParameters, as for a cursor of another list."""
    chosen = query.chosen_by(account.id)
    digest = _digest(query)
    after = None if query.cursor is None else read_cursor(query.cursor, digest)
    # one more, which says whether the list goes on
    limit = query.limit + 1
    page = listing.list_page(chosen, order=query.order, after=after, skip=query.skip, limit=limit)
    rows = await (services.all(page) if chosen.is_cheap else search(services, page))
    next_cursor = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        next_cursor = write_cursor(Place(created_at=rows[-1].created_at, id=rows[-1].id), digest)
    total = None
    if query.include_total:
        [counted] = await search(services, listing.count_matching(chosen))
        total = counted.total
    return JobPage(rows=rows, next_cursor=next_cursor, total=total)


async def count_jobs(services: Services, account: Account, choice: JobChoice) -> JobCounts:
    """How many of the caller's jobs there are of each sort."""
    by: dict[str, Counter[str]] = {"state": Counter(), "model_id": Counter(), "kind": Counter()}
    for row in await search(services, listing.count_by_kind(choice.chosen_by(account.id))):
        for name, counter in by.items():
            counter[getattr(row, name)] += row._mapping["count"]
    total = by["state"].total()
    return JobCounts(
        total=min(total, MOST_COUNTED),
        capped=total > MOST_COUNTED,
        by_status=dict(by["state"].most_common()),
        by_model=dict(by["model_id"].most_common()),
        by_kind=dict(by["kind"].most_common()),
    )


async def search(services: Services, statement: Executable) -> list[Row[Any]]:
    """Run a statement that may read much; refused where it takes too long."""
    limit = func.set_config("statement_timeout", str(LONGEST_SEARCH_MS), True)
    try:
        async with services.search_limiter, services.transaction() as connection:
            await connection.execute(select(limit))
            return list((await connection.execute(statement)).all())
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _QUERY_CANCELED:
            raise
        raise InvalidParameters(
            f"The search took longer than {LONGEST_SEARCH_MS / 1000:g} s and was given up.",
            code="search_too_slow",
            hint="Narrow it, best by created_after and created_before, or by status.",
        ) from None


def _digest(query: JobListQuery) -> bytes:
    chosen = query.model_dump(mode="json", exclude=set(_PAGE_NAMES), exclude_none=True)
    return digest_query((name, str(value)) for name, value in chosen.items())
