"""What a caller may still ask for: open jobs and cost units, refused with 429 where it is too much.

Where neither the user, nor the key, nor the installation has a limit, nothing is asked of the database. No
limit is ever exceeded, however many ask at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Row
from sqlalchemy.ext.asyncio import AsyncConnection

from pipeline3d.api.services import Services, again_where_taken_back
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


@again_where_taken_back
async def store_within_limits(
    services: Services,
    account: Account,
    statement: Executable,
    values: Mapping[str, Any],
    cost_units: Decimal,
) -> list[Row[Any]]:
    """Run a statement that brings back each job that it stored, of `cost_units` together, and count them.

    Raises LimitReached where these are too many, or too dear. What is stored is counted, and what is not
    stored is not, whenever this process or Postgres dies. Callers of the same user wait for one another
    where there is a limit, so that none is overlooked.
    """
    quotas_of = _with_quota(services, account)
    if not (quotas_of or _with_most_open(services, account)):
        return await services.directly(statement, **values)
    async with _turn_of(services, account.id) as connection:
        rows = list((await connection.execute(statement, values)).all())
        if rows:
            # after the jobs, as where a trigger gives back what a job cost: nobody waits in a circle
            for owner in quotas_of:
                await _charge(connection, owner, len(rows), cost_units)
            await _check_open_jobs(services, connection, account, opened=len(rows))
    return rows


@again_where_taken_back
async def retry_within_limits(
    services: Services, account: Account, statement: Executable, job: Row[Any]
) -> Row[Any] | None:
    """Run a statement that opens a job once more, for the key that was sent; no row where it opened none.

    Postgres counts its units by itself, in the month in which it was made. Raises LimitReached where that is
    beyond what the user or this key may have, and the job stays as it was.
    """
    quotas_of = _with_quota(services, account)
    if not (quotas_of or _with_most_open(services, account)):
        return await services.first(statement)
    async with _turn_of(services, account.id) as connection:
        row = (await connection.execute(statement)).first()
        if row is None:
            return None
        await _check_open_jobs(services, connection, account, opened=1)
        month = quotas.first_of_month(job.created_at)
        for owner in quotas_of:
            used = (await connection.execute(quotas.read_used(owner.id, month, is_key=owner.is_key))).one()
            if used.cost_units > quotas.as_cost(owner.limit):
                before = used.cost_units - job.cost_units
                if month != used.this_month:
                    raise _earlier_quota_exceeded(owner, before, job.cost_units, month)
                raise _quota_exceeded(owner, before, job.cost_units, used.seconds_left)
    return row


@again_where_taken_back
async def store_counted(services: Services, user_id: UUID, statement: Executable) -> Row[Any] | None:
    """Run a statement that stores something where its user has few enough of it; no row where it did not.

    Such statements of one user, on any process, run one after the other: each counts what those before it
    have stored.
    """
    async with _turn_of(services, user_id) as connection:
        return (await connection.execute(statement)).first()


@again_where_taken_back
async def count_anew(services: Services, user_id: UUID, owner_id: UUID) -> None:
    """Have the use of this month added up anew, of a user or of a key of theirs whose quota was changed."""
    async with _turn_of(services, user_id) as connection:
        # nobody is counting in this moment, who would count from nothing
        await connection.execute(quotas.forget_used([owner_id]))


@asynccontextmanager
async def _turn_of(services: Services, user_id: UUID) -> AsyncIterator[AsyncConnection]:
    """A transaction that counts for a user: others of the same user, on any process, wait for its end."""
    async with services.turns.of(user_id), services.transaction() as connection:
        await connection.execute(quotas.wait_for_turn(), {"the_user": str(user_id)})
        yield connection


async def _charge(connection: AsyncConnection, owner: _Owner, jobs: int, cost_units: Decimal) -> None:
    """Count what this transaction stored, or refuse it: `LimitReached` `quota_exceeded`."""
    asked = {
        "the_owner": owner.id,
        "the_jobs": jobs,
        "the_units": cost_units,
        "the_limit": quotas.as_cost(owner.limit),
    }
    charged = (await connection.execute(quotas.charge(is_key=owner.is_key), asked)).one()
    if not charged.is_charged:
        raise _quota_exceeded(owner, charged.cost_units, cost_units, charged.seconds_left)


async def _check_open_jobs(
    services: Services, connection: AsyncConnection, account: Account, *, opened: int
) -> None:
    """Refuse what was opened in this transaction where that makes more than may be open."""
    for owner in _with_most_open(services, account) if opened else ():
        most = int(owner.limit)
        asked = {"the_user": account.id, "at_most": most + opened}
        if owner.is_key:
            asked["the_key"] = owner.id
        counted = await connection.execute(quotas.count_open_jobs(of_key=owner.is_key), asked)
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


def _quota_exceeded(owner: _Owner, used: Decimal, more: Decimal, seconds_left: Decimal) -> LimitReached:
    """The refusal of `more` units where `used` are used; it ends with the month."""
    return LimitReached(
        _tell_used(owner, used, more, "this month"),
        code="quota_exceeded",
        hint="Ask for less, wait for the next month (UTC), or ask an administrator for a higher limit.",
        details={"retry_after_s": float(seconds_left)},
    )


def _earlier_quota_exceeded(owner: _Owner, used: Decimal, more: Decimal, month: date) -> LimitReached:
    """The same where a job of an earlier month is tried again: waiting is of no use."""
    return LimitReached(
        _tell_used(owner, used, more, f"{month:%Y-%m}, in which the job was made"),
        code="quota_exceeded",
        hint="Ask for the same with a new job, which counts in this month.",
    )


def _tell_used(owner: _Owner, used: Decimal, more: Decimal, month: str) -> str:
    who = owner.named[0].upper() + owner.named[1:]
    of_limit = f"{_in_units(used)} of {_in_units(quotas.as_cost(owner.limit))}"
    return f"{who} has used {of_limit} cost units of {month}; {_in_units(more)} more came."


def _in_units(units: Decimal) -> str:
    """Units as people write them: without zeros at the end, and never as a power of ten."""
    return f"{units.normalize():f}"
