"""Share links: made and ended by a job's owner, used by whoever has one.

What a link opens is decided at each use. How it is shown is decided by `share_page`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Row

from pipeline3d.api.callers import client_address, throttled_address
from pipeline3d.api.downloads import LinkWish, choose_by_name, link_artifact, unknown_artifact
from pipeline3d.api.file_bodies import ShareBody, SharedFile, SharedRead, ShareMade, ShareRead
from pipeline3d.api.limits import store_counted
from pipeline3d.api.rates import Rate
from pipeline3d.api.services import Services
from pipeline3d.errors import LimitReached, RequestError
from pipeline3d.requests import reading, sharing
from pipeline3d.requests.creation import new_job_id
from pipeline3d.requests.sharing import TYPES_OF_SCOPE, ShareScope
from pipeline3d.values import JobState

LINK_EXPIRES_S = 300
"""How long a link to an object works that a share link led to: what is revoked then ends soon."""
VISITS_PER_MINUTE = 300
"""From one address: a page with its pictures is some ten."""
MOST_TOKEN_LENGTH = 100
UNKNOWN_SHARE = "unknown_share"
PUBLIC_HEADERS = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
    "Referrer-Policy": "no-referrer",  # the address is the secret
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""Of all that a share link answers. Any page may read it: who has the link needs nothing else."""


async def create_share(services: Services, user_id: UUID, job: Row[Any], body: ShareBody) -> ShareMade:
    """A new link to a job of the caller; the token is told this once.

    It is a path where the installation does not know its own address: whatever name the request came under
    may be made up, and the link would be kept.
    """
    token = sharing.generate_token()
    creation = sharing.create_share(new_job_id(), user_id, job.id, token, body.scope, body.expires_in_s)
    made = await store_counted(services, user_id, creation)
    if made is None:
        raise RequestError(
            f"Job {job.id} has {sharing.MOST_LINKS} share links, which is as many as may work.",
            code="too_many_shares",
            hint="Revoke one that nobody needs.",
        )
    return ShareMade(**_fields(made), url=f"{services.settings.api_url or ''}/s/{token}", token=token)


async def list_shares(services: Services, job: Row[Any]) -> list[ShareRead]:
    """The links of a job of the caller."""
    return [ShareRead(**_fields(row)) for row in await services.all(sharing.list_shares(job.id))]


async def revoke_share(services: Services, job: Row[Any], share_id: UUID) -> None:
    """End a link of a job of the caller at once."""
    if await services.first(sharing.revoke_share(job.id, share_id)) is None:
        raise unknown_share()


async def visit_page(services: Services, request: Request, token: str) -> SharedRead:
    """What a link shows."""
    share = await _open(services, request, token)
    await services.execute(sharing.count_use(share.share_id))
    files = await _shared_files(services, share)
    # A page behind a proxy does not know its own address: these lead on from wherever it was found.
    return SharedRead(
        model_id=share.model_id,
        kind=share.kind,
        status=share.state,
        scope=ShareScope(share.scope),
        created_at=share.created_at,
        completed_at=share.completed_at,
        expires_at=share.share_expires_at,
        files=[
            SharedFile(
                name=row.name,
                asset=row.asset,
                type=row.type,
                content_type=row.content_type,
                size=row.file_size_bytes,
                sha256=row.sha256,
                url=f"/s/{token}/{row.asset}/{row.name}",
            )
            for row in files
        ],
    )


async def visit_file(
    services: Services, request: Request, token: str, asset: str | None, name: str, *, inline: bool
) -> RedirectResponse:
    """To a fresh link to one file that a link shows."""
    share = await _open(services, request, token)
    files = await _shared_files(services, share)
    if asset is None:
        artifact = choose_by_name(files, name, whose="What was shared")
    else:
        found = [row for row in files if (row.asset, row.name) == (asset, name)]
        if not found:
            raise unknown_artifact("What was shared", f"{asset}/{name}")
        artifact = found[0]
    if not inline:
        await services.execute(sharing.count_use(share.share_id))
    expires_s = min(LINK_EXPIRES_S, services.settings.download_url_expires_s)
    wish = LinkWish(expires_s=expires_s, inline=inline)
    link = link_artifact(services, share.id, artifact, wish, is_final=share.state == JobState.SUCCEEDED)
    return RedirectResponse(link.download_url, HTTPStatus.FOUND, PUBLIC_HEADERS)


def unknown_share() -> RequestError:
    """What anybody is told whose link does not work: not whether it ever did."""
    return RequestError("There is no such share link, or it has ended.", code=UNKNOWN_SHARE)


async def _open(services: Services, request: Request, token: str) -> Row[Any]:
    address = throttled_address(client_address(request, services.settings))
    standing = await services.rates.hit([Rate(owner=f"share:{address}", per_minute=VISITS_PER_MINUTE)])
    if standing is not None and not standing.allowed:
        raise LimitReached(
            f"More than {VISITS_PER_MINUTE} visits to share links came within a minute.",
            code="rate_limited",
            hint="Wait as long as Retry-After says.",
            details={"retry_after_s": standing.reset_s},
        )
    if len(token) > MOST_TOKEN_LENGTH:
        raise unknown_share()
    share = await services.first(sharing.find_share(), the_hash=sharing.hash_token(token))
    if share is None:
        raise unknown_share()
    return share


async def _shared_files(services: Services, share: Row[Any]) -> list[Row[Any]]:
    shown = TYPES_OF_SCOPE[ShareScope(share.scope)]
    rows = await services.all(reading.list_artifacts(), the_jobs=[share.id])
    return [row for row in rows if row.type in shown]


def _fields(row: Row[Any]) -> dict[str, Any]:
    names = (
        *("id", "job_id", "scope", "prefix", "expires_at", "revoked_at", "last_used_at", "uses"),
        "created_at",
    )
    return {name: getattr(row, name) for name in names}
