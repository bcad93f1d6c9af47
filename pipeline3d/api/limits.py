"""What a caller may still ask for: open jobs and cost units, refused with 429 where it is too much.

Where neither the user, nor the key, nor the installation has a limit, nothing is asked of the database. No
limit is ever exceeded, however many ask at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Row
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline3d.api.services import Services
from pipeline3d.errors import LimitReached
from pipeline3d.requests import quotas
from pipeline3d.requests.accounts import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """Who has a limit: the user, or the key that was sent."""

    id: UUID
    is_key: bool
    limit: float

    @property
    def named(self) -> str:
        return "this key" if self.is_key else "your account"


async def charge(services: Services, account: Account, *, jobs: int, cost_units: float) -> None:
    """Count `jobs` new jobs of `cost_units` together, or refuse all: `LimitReached` `quota_exceeded`.

    Call it right before the jobs are stored, and `give_back` where they are not stored after all.
    """
    charged: list[_Owner] = []
    for owner in _with_quota(services, account):
        row = await services.first(_charge(owner, jobs, cost_units))
        if row is None:
            for earlier in charged:
                await services.execute(_give_back(earlier, jobs, cost_units))
            used = await services.first(quotas.read_used(owner.id, is_key=owner.is_key))
            raise _quota_exceeded(owner, used, cost_units)
        charged.append(owner)


async def give_back(services: Services, account: Account, *, jobs: int, cost_units: float) -> None:
    """Take back what `charge` counted, for jobs that were not stored after all."""
    for owner in _with_quota(services, account):
        await services.execute(_give_back(owner, jobs, cost_units))


async def store_within_limits(
    services: Services, account: Account, statement: Executable, values: Mapping[str, Any]
) -> list[Row[Any]]:
    """Run a statement that brings back each job that it opened; `LimitReached` where these are too many.

    Where there is a limit, callers of the same user wait for one another, so that none is overlooked.
    """
    if not _with_most_open(services, account):
        return await services.all(statement, **values)
    async with services.transaction() as connection:
        await connection.execute(quotas.wait_for_turn(account.id))
        rows = list((await connection.execute(statement, values)).all())
        await _check_open_jobs(services, connection, account, opened=len(rows))
    return rows


async def retry_within_limits(
    services: Services, account: Account, statement: Executable, cost_units: float
) -> Row[Any] | None:
    """Run a statement that opens a job of `cost_units` once more; no row where it opened none.

    Postgres counts the units by itself. Raises LimitReached, and the job stays ended.
    """
    if not (_with_most_open(services, account) or _with_quota(services, account)):
        return await services.first(statement)
    async with services.transaction() as connection:
        await connection.execute(quotas.wait_for_turn(account.id))
        row = (await connection.execute(statement)).first()
        if row is None:
            return None
        await _check_open_jobs(services, connection, account, opened=1)
        for owner in _with_quota(services, account):
            used = (await connection.execute(quotas.read_used(owner.id, is_key=owner.is_key))).one()
            if used.cost_units > quotas.as_cost(owner.limit):
                raise _quota_exceeded(owner, used, cost_units, counted=True)
    return row


async def _check_open_jobs(
    services: Services, connection: AsyncConnection, account: Account, *, opened: int
) -> None:
    """Refuse what was opened in this transaction where that makes more than may be open."""
    for owner in _with_most_open(services, account) if opened else ():
        most = int(owner.limit)
        key_id = owner.id if owner.is_key else None
        counted = await connection.execute(quotas.count_open_jobs(account.id, key_id, most + opened))
        before = counted.one().open - opened
        if before + opened > most:
            raise LimitReached(
                f"{before} of the {most} jobs that {owner.named} may have open have not ended; "
                f"{opened} more came.",
                code="too_many_open_jobs",
                hint="Wait until some have ended, or cancel some.",
            )


def _with_most_open(services: Services, account: Account) -> list[_Owner]:
    return _owners(account, "max_open_jobs", services.settings.max_open_jobs_per_user)


def _with_quota(services: Services, account: Account) -> list[_Owner]:
    return _owners(account, "monthly_cost_units", services.settings.monthly_cost_units_per_user)


def _owners(account: Account, limit: str, default: float) -> list[_Owner]:
    """Those whose limit counts, the user first: the order in which rows are locked is always the same."""
    own = getattr(account.limits, limit)
    of_user = own if own is not None else (default or None)
    of_key = getattr(account.key_limits, limit)
    owners = [] if of_user is None else [_Owner(id=account.id, is_key=False, limit=of_user)]
    if of_key is not None and account.key_id is not None:
        owners.append(_Owner(id=account.key_id, is_key=True, limit=of_key))
    return owners


def _charge(owner: _Owner, jobs: int, cost_units: float) -> Any:
    return quotas.charge(
        owner.id,
        is_key=owner.is_key,
        jobs_count=jobs,
        cost_units=quotas.as_cost(cost_units),
        limit=quotas.as_cost(owner.limit),
    )


def _give_back(owner: _Owner, jobs: int, cost_units: float) -> Any:
    return quotas.give_back(owner.id, jobs_count=jobs, cost_units=quotas.as_cost(cost_units))


def _quota_exceeded(owner: _Owner, used: Any, cost_units: float, *, counted: bool = False) -> LimitReached:
    """The refusal; where the units of what came are `counted` already, they are not said to be used."""
    before = float(used.cost_units) - (cost_units if counted else 0)
    return LimitReached(
        f"{owner.named[0].upper()}{owner.named[1:]} has used {before:g} of "
        f"{owner.limit:g} cost units of this month; {cost_units:g} more came.",
        code="quota_exceeded",
        hint="Ask for less, wait for the next month (UTC), or ask an administrator for a higher limit.",
        details={"retry_after_s": float(used.seconds_left)},
    )
