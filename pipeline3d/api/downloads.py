"""Links to what jobs made: minted when they are asked for, never stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query
from fastapi.responses import RedirectResponse
from sqlalchemy import Row

from pipeline3d.api.auth import Reader
from pipeline3d.api.bodies import ArtifactRead, DownloadRead
from pipeline3d.api.compatibility import LINK_EXPIRES_S
from pipeline3d.api.presenting import download_filename, present_artifact
from pipeline3d.api.services import AppServices, Services
from pipeline3d.errors import InvalidParameters, NotFinished, RequestError
from pipeline3d.requests import reading
from pipeline3d.requests.accounts import Account
from pipeline3d.store.links import Presentation
from pipeline3d.values import ArtifactType, JobState

INLINE_TYPES = frozenset(
    {"image/png", "image/jpeg", "image/webp", "image/gif", "video/mp4", "video/webm", "application/json"}
)
"""Besides `model/…`: what a browser may show in its place. None of them can hold a script."""
JSON_TYPES = frozenset({"application/json", "application/*", "*/*"})
LEAST_EXPIRES_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkWish:
    """How a caller wants a link: how long it works, shown in its place or saved, and as a redirect or told.

    `redirect` None leaves that to the route.
    """

    expires_s: int | None = None
    inline: bool = False
    redirect: bool | None = None


ExpiresIn = Annotated[
    int | None, Query(ge=LEAST_EXPIRES_S, description="Seconds that the link works; at most as configured.")
]
Inline = Annotated[bool, Query(description="For viewers: shown in its place, not saved.")]


async def read_wish(
    account: Reader,
    services: AppServices,
    expires_in: ExpiresIn = None,
    inline: Inline = False,
    redirect: Annotated[
        bool | None,
        Query(description="302 to the link, or the link told; not sent, what Accept prefers decides."),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> LinkWish:
    """What the query and the Accept header say."""
    chosen = not prefers_json(accept) if redirect is None else redirect
    return LinkWish(expires_s=_choose_expiry(services, account, expires_in), inline=inline, redirect=chosen)


Wish = Annotated[LinkWish, Depends(read_wish)]
"""What a caller wants: where nothing is sent, the link is told."""


async def read_eager_wish(
    account: Reader,
    services: AppServices,
    expires_in: ExpiresIn = None,
    inline: Inline = False,
    redirect: Annotated[bool, Query(description="302 to the link; false tells it.")] = True,
) -> LinkWish:
    """The same for a route that redirects where nothing is sent."""
    return LinkWish(expires_s=_choose_expiry(services, account, expires_in), inline=inline, redirect=redirect)


EagerWish = Annotated[LinkWish, Depends(read_eager_wish)]
"""What a caller wants: where nothing is sent, it is led to the object at once."""


def _choose_expiry(services: Services, account: Account, expires_in: int | None) -> int | None:
    """Seconds: those that were asked for, or those that links of the caller's earlier system worked."""
    usual_s = LINK_EXPIRES_S.get(account.compatibility or "")
    if usual_s is None or expires_in is not None:
        return expires_in
    return min(usual_s, services.settings.download_url_expires_s)


def prefers_json(accept: str) -> bool:
    """Whether a caller is a program that wants to be told, rather than a browser that wants to be led.

    Programs send no Accept header, `*/*`, or JSON among what they like best. A browser likes pages or
    pictures best.
    """
    ranges = [_read_range(part) for part in accept.split(",") if part.strip()]
    best = max((quality for _, quality in ranges), default=0.0)
    return best <= 0 or any(name in JSON_TYPES for name, quality in ranges if quality == best)


def _read_range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
            if quality != quality:  # not a number
                quality = 0.0
    return name, quality


async def link_result(services: Services, row: Row[Any], wish: LinkWish = LinkWish()) -> DownloadRead:
    """A link to the model that a job made."""
    if row.state != JobState.SUCCEEDED:
        raise NotFinished(
            f"Job {row.id} is {row.state}; a result can be downloaded once it is SUCCEEDED.",
            hint="Poll the job until its status is SUCCEEDED.",
        )
    artifact = await services.first(reading.read_result(row.id))
    if artifact is None:
        raise RequestError(f"Job {row.id} has no result that can be downloaded.", code="no_result")
    return link_artifact(services, row.id, artifact, wish, is_final=True)


async def link_named_artifact(
    services: Services, row: Row[Any], asset: str, name: str, wish: LinkWish = LinkWish()
) -> DownloadRead:
    """A link to one object of a job."""
    artifact = await services.first(reading.read_named_artifact(row.id, asset, name))
    if artifact is None:
        raise unknown_artifact(f"Job {row.id}", f"{asset}/{name}")
    return link_artifact(services, row.id, artifact, wish, is_final=row.state == JobState.SUCCEEDED)


async def link_by_name(services: Services, row: Row[Any], name: str, wish: LinkWish) -> DownloadRead:
    """A link to the one object of a job that has this name, whichever stage made it."""
    rows = await services.all(reading.list_artifacts(), the_jobs=[row.id])
    artifact = choose_by_name(rows, name, whose=f"Job {row.id}")
    return link_artifact(services, row.id, artifact, wish, is_final=row.state == JobState.SUCCEEDED)


def choose_by_name(rows: Sequence[Row[Any]], name: str, *, whose: str) -> Row[Any]:
    """The only one of these artifacts with a name; an error where there is none or there are several."""
    found = [row for row in rows if row.name == name]
    if not found:
        raise unknown_artifact(whose, name)
    if len(found) > 1:
        assets = ", ".join(sorted(row.asset for row in found))
        raise RequestError(
            f"{whose} has several {name}, of {assets}.",
            code="ambiguous_artifact",
            hint=f"Ask for one of them as {found[0].asset}/{name}.",
        )
    return found[0]


def unknown_artifact(whose: str, name: str) -> RequestError:
    """What somebody is told who asks for an object that is not there."""
    return RequestError(
        f"{whose} has no {name}.", code="unknown_artifact", hint="Look at the list of its artifacts."
    )


async def list_artifacts(
    services: Services, job_id: UUID, *, types: Collection[ArtifactType], asset: str | None
) -> list[ArtifactRead]:
    """What is stored for a job: of all types and assets, or of these only."""
    rows = await services.all(reading.list_artifacts(), the_jobs=[job_id])
    return [
        present_artifact(row)
        for row in rows
        if (not types or row.type in types) and (asset is None or row.asset == asset)
    ]


def link_artifact(
    services: Services,
    job_id: UUID,
    artifact: Row[Any],
    wish: LinkWish = LinkWish(),
    *,
    is_final: bool = False,
) -> DownloadRead:
    """A link that lasts for a while. Made on reading, never stored.

    What is final may be kept by a browser for as long as its link works; other objects may yet be replaced.
    """
    most = services.settings.download_url_expires_s
    expires_s = wish.expires_s or most
    if expires_s > most:
        raise InvalidParameters(f"expires_in is {expires_s}; links work for at most {most} seconds.")
    filename = download_filename(job_id, artifact)
    presentation = Presentation(
        filename=filename,
        inline=wish.inline and may_be_shown(artifact.content_type),
        content_type=artifact.content_type,
        cache_control=f"private, max-age={expires_s}, immutable" if is_final else "private, no-cache",
    )
    return DownloadRead(
        download_url=services.store.links.for_download(artifact.storage_path, expires_s, presentation),
        expires_in=expires_s,
        filename=filename,
        content_type=artifact.content_type,
        size=artifact.file_size_bytes,
        sha256=artifact.sha256,
    )


def may_be_shown(content_type: str) -> bool:
    """Whether a browser may show such content in its place instead of saving it."""
    return content_type in INLINE_TYPES or content_type.startswith("model/")


def answer_link(link: DownloadRead, wish: LinkWish) -> DownloadRead | RedirectResponse:
    """The link as it was wished for. A redirect is never kept: the next one leads to a fresh link."""
    if not wish.redirect:
        return link
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    return RedirectResponse(link.download_url, HTTPStatus.FOUND, headers)
