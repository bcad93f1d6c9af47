"""What its owner may do to a job after it was made, other than deleting it. Everything is safe to repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row

from pipeline3d.api.audit import audit
from pipeline3d.api.change_forms import ExpiryBody
from pipeline3d.api.limits import retry_within_limits
from pipeline3d.api.services import Services
from pipeline3d.api.viewing import read_own_job
from pipeline3d.errors import InvalidParameters, RequestError
from pipeline3d.requests import amending, changes
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.audit import Action
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d.values import JobState

_UNDER_WAY = (JobState.QUEUED, JobState.RUNNING)


async def cancel_job(services: Services, account: Account, job_id: UUID) -> Row[Any]:
    """End a job of the caller: at once while it waits, as soon as its run has stopped while it runs."""
    await read_own_job(services, account, job_id)
    if await services.first(changes.request_cancel(job_id)) is not None:
        await audit(services, account, Action.JOB_CANCELED, f"job:{job_id}")
    return await read_own_job(services, account, job_id)


async def retry_job(services: Services, account: Account, job_id: UUID) -> Row[Any]:
    """Queue a job of the caller that did not succeed once more; one that is under way stays as it is.

    From then on it counts for the key that was sent, and for no key where it was a session.
    """
    ended = await read_own_job(services, account, job_id)
    again = changes.retry_with_key(job_id, account.key_id)
    queued = await retry_within_limits(services, account, again, ended)
    row = await read_own_job(services, account, job_id)
    if queued is None and row.state not in _UNDER_WAY:
        raise RequestError(
            f"Job {job_id} is {row.state}; a job that FAILED, was CANCELED or EXPIRED can be tried again.",
            code="not_retryable",
            hint="Ask for the same again with a new job.",
        )
    return row


async def hold_job(services: Services, account: Account, job_id: UUID) -> Row[Any]:
    """Let a job of the caller wait until it is released."""
    await read_own_job(services, account, job_id)
    await services.first(amending.hold(job_id))
    row = await read_own_job(services, account, job_id)
    if row.state != JobState.QUEUED:
        raise _not_changeable(row, "held")
    if not row.held:
        raise RequestError(
            f"Job {job_id} is on its way to a worker and cannot be held any more.",
            code="not_changeable",
            hint="Cancel it instead; it can be tried again later.",
        )
    return row


async def release_job(services: Services, account: Account, job_id: UUID) -> Row[Any]:
    """Let a job of the caller that was held wait for its turn; any other stays as it is."""
    await read_own_job(services, account, job_id)
    await services.first(amending.release(job_id))
    return await read_own_job(services, account, job_id)


async def amend_job(services: Services, account: Account, job_id: UUID, patch: Mapping[str, Any]) -> Row[Any]:
    """Change what is written about a job of the caller. All of it or, where a part is refused, nothing."""
    before = await read_own_job(services, account, job_id)
    if not patch:
        return before
    changed = await services.first(amending.amend(job_id, patch))
    row = await read_own_job(services, account, job_id)
    if changed is None:
        _require_unchanged(row, patch)
    return row


async def extend_job(services: Services, account: Account, job_id: UUID, expiry: ExpiryBody) -> Row[Any]:
    """Keep the files of a job of the caller longer, or less long."""
    until: Any = expiry.expires_at
    if expiry.expires_in_s is not None:
        until = seconds_from_now(expiry.expires_in_s)
    return await amend_job(services, account, job_id, {"expires_at": until})


def _require_unchanged(row: Row[Any], patch: Mapping[str, Any]) -> None:
    """Return where a job has all that was asked for; otherwise say what kept it from being changed."""
    current = row._mapping
    waiting_only = [
        name for name in ("priority", "deadline") if name in patch and current[name] != patch[name]
    ]
    if waiting_only and row.state != JobState.QUEUED:
        raise _not_changeable(row, f"given another {' or '.join(waiting_only)}")
    until = patch.get("expires_at", current["expires_at"])
    if isinstance(until, ColumnElement) or until != current["expires_at"]:
        raise RequestError(
            f"The files of job {row.id} expired at {row.expires_at} and are being removed.",
            code="not_changeable",
            hint="Ask for the same again with a new job.",
        )
    wanted = {name: value for name, value in patch.get("metadata", {}).items() if value is not None}
    if not wanted.items() <= current["metadata"].items():
        raise InvalidParameters(
            f"The metadata would have more than {amending.LARGEST_METADATA} characters as JSON.",
            code="metadata_too_large",
            hint="Remove fields by sending them as null.",
        )


def _not_changeable(row: Row[Any], how: str) -> RequestError:
    return RequestError(
        f"Job {row.id} is {row.state}; only a job that is QUEUED can be {how}.", code="not_changeable"
    )
