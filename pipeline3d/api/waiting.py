"""`Prefer: wait=n`: an answer that waits until a job has ended, for some seconds at most (RFC 7240)."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header
from sqlalchemy import Row

from pipeline3d.api.services import Services
from pipeline3d.api.viewing import read_own_job
from pipeline3d.requests import reading
from pipeline3d.requests.accounts import Account
from pipeline3d.values import FINISHED_STATES

SHORTEST_S = 1
LONGEST_S = 60
"""What proxies and browsers wait for without being asked to."""

APPLIED = "Preference-Applied"
Prefer = Annotated[
    str | None,
    Header(description="`wait=n`: answer when the job has ended, or after n seconds (1 to 60) as it stands."),
]
_WAIT = re.compile(r"\s*wait\s*=\s*\"?(\d{1,9})\"?\s*", re.IGNORECASE)


def read_preference(prefer: str | None) -> int | None:
    """The seconds that somebody would wait, within our limits; None where nothing such is preferred.

    A preference that is not understood is passed over, as the standard has it.
    """
    for preference in (prefer or "").split(","):
        found = _WAIT.fullmatch(preference.partition(";")[0])
        if found is not None and int(found[1]) >= SHORTEST_S:
            return min(int(found[1]), LONGEST_S)
    return None


async def wait_as_preferred(
    services: Services, account: Account, job_id: UUID, prefer: str | None
) -> dict[str, str]:
    """Wait for the end of a job of the caller, where that is preferred; the headers that say so.

    Raises as `read_own_job`, so that nobody waits for a job of somebody else.
    """
    seconds = read_preference(prefer)
    if seconds is None:
        return {}
    await read_own_job(services, account, job_id)
    await wait_for_end(services, job_id, seconds)
    return {APPLIED: f"wait={seconds}"}


async def wait_for_end(services: Services, job_id: UUID, seconds: float) -> Row[Any] | None:
    """A job once it has ended, or as it stands when the time is up; None where it is gone by then."""

    async def has_ended() -> bool:
        row = await read()
        return row is None or row.state in FINISHED_STATES

    async def read() -> Row[Any] | None:
        return await services.first(reading.read_visible_job(), the_job=job_id)

    await services.events.wait_for_end(job_id, seconds, has_ended)
    return await read()
