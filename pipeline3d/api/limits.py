"""What a caller may still ask for: open jobs and cost units, refused with 429 where it is too much.

Where neither the user, nor the key, nor the installation has a limit, nothing is asked of the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

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


async def check_may_create(services: Services, account: Account, *, jobs: int, cost_units: float) -> None:
    """Count `jobs` new jobs of `cost_units` together, or refuse all: `LimitReached` (429).

    Call it right before the jobs are stored, and `give_back` where they are not stored after all. The codes
    are `too_many_open_jobs` and `quota_exceeded`. Units are never exceeded, whoever asks at once; open jobs
    that are being stored at the same moment are not seen.
    """
    await _check_open_jobs(services, account, jobs)
    owners = _owners(account, "monthly_cost_units", services.settings.monthly_cost_units_per_user)
    charged: list[_Owner] = []
    for owner in owners:
        row = await services.first(_charge(owner, jobs, cost_units))
        if row is None:
            for earlier in charged:
                await services.execute(_give_back(earlier, jobs, cost_units))
            raise await _quota_exceeded(services, owner, cost_units)
        charged.append(owner)


async def give_back(services: Services, account: Account, *, jobs: int, cost_units: float) -> None:
    """Take back what `check_may_create` counted, for jobs that were not stored after all."""
    for owner in _owners(account, "monthly_cost_units", services.settings.monthly_cost_units_per_user):
        await services.execute(_give_back(owner, jobs, cost_units))


async def _check_open_jobs(services: Services, account: Account, wanted: int) -> None:
    for owner in _owners(account, "max_open_jobs", services.settings.max_open_jobs_per_user):
        most = int(owner.limit)
        key_id = owner.id if owner.is_key else None
        row = await services.first(quotas.count_open_jobs(account.id, key_id, most + 1))
        assert row is not None
        if row.open + wanted > most:
            raise LimitReached(
                f"{min(row.open, most)} of the {most} jobs that {owner.named} may have open have not ended; "
                f"{wanted} more came.",
                code="too_many_open_jobs",
                hint="Wait until some have ended, or cancel some.",
            )


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


async def _quota_exceeded(services: Services, owner: _Owner, cost_units: float) -> LimitReached:
    used = await services.first(quotas.read_used(owner.id))
    assert used is not None
    return LimitReached(
        f"{owner.named[0].upper()}{owner.named[1:]} has used {float(used.cost_units):g} of "
        f"{owner.limit:g} cost units of this month; {cost_units:g} more came.",
        code="quota_exceeded",
        hint="Ask for less, wait for the next month (UTC), or ask an administrator for a higher limit.",
        details={"retry_after_s": float(used.seconds_left)},
    )
