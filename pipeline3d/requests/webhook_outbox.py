"""The outbox as the courier works on it: take what is due, keep what is sent, write down how it went.

A delivery that was taken is due again when its lease ends, so that a courier that dies loses nothing. Whoever
writes down an attempt names its number: one that was overtaken by a later attempt changes nothing but the
log. Every moment is by the clock of Postgres. Pure functions that return statements.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.tables import users
from pipeline3d.database.webhook_tables import (
    webhook_attempts,
    webhook_deliveries,
    webhook_endpoints,
    webhook_secrets,
)
from pipeline3d.requests.leases import make_seconds, seconds_from_now
from pipeline3d.requests.webhook_events import STANDARD_FORMAT
from pipeline3d.requests.webhook_secrets import previous_while_valid
from pipeline3d.requests.webhooks import fail_waiting

CANDIDATES = 500
"""So many due deliveries are looked at when some are taken."""

# Written into the statement, not bound: only so does a prepared statement keep to the index of what waits.
IS_PENDING = webhook_deliveries.c.state == literal_column("'PENDING'")


_earlier = webhook_deliveries.alias("earlier")
# Forms of earlier systems have no number for the order: they are sent in order, to one address about one job
# one after the other. A message that failed holds nobody up; see `read_told` for what becomes of it.
IS_ITS_TURN = or_(
    webhook_deliveries.c.format == literal_column(f"'{STANDARD_FORMAT}'"),
    ~exists().where(
        _earlier.c.job_id == webhook_deliveries.c.job_id,
        _earlier.c.url == webhook_deliveries.c.url,
        _earlier.c.id < webhook_deliveries.c.id,
        _earlier.c.state == literal_column("'PENDING'"),
        _earlier.c.failures == 0,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one attempt went. `retry_in_s` is None where there is no other one."""

    delivery_id: int
    number: int
    endpoint_id: UUID | None
    delivered: bool = False
    status: int | None = None
    error: str | None = None
    answer: str = ""
    milliseconds: int = 0
    retry_in_s: float | None = None
    gone: bool = False
    """The receiver said that it never wants anything again."""
    passing: bool = False
    """What it told is of no use later: without another attempt it is dropped, not failed."""


@lru_cache(maxsize=1)
def take_due() -> Select[Any]:
    """Lease deliveries that are due, at most `at_most` and `per_host` of a host; never of `busy` hosts.

    Binds also `lease_s` and `under_way`: how many of each host are being sent already. Brings back each with
    whom it is for, and with the secrets that sign it.
    """
    host = host_of(webhook_deliveries.c.url)
    is_due = and_(IS_PENDING, webhook_deliveries.c.next_attempt_at <= func.now(), IS_ITS_TURN)
    candidates = (
        select(webhook_deliveries.c.id, webhook_deliveries.c.next_attempt_at, host.label("host"))
        .where(is_due, func.array_position(bindparam("busy", type_=ARRAY(Text)), host).is_(None))
        .order_by(webhook_deliveries.c.next_attempt_at)
        .limit(CANDIDATES)
        .cte("candidates")
    )
    order = func.row_number().over(
        partition_by=candidates.c.host, order_by=(candidates.c.next_attempt_at, candidates.c.id)
    )
    under_way = bindparam("under_way", type_=JSONB)[candidates.c.host].astext.cast(Integer)
    ranked = select(
        candidates.c.id, order.label("place"), func.coalesce(under_way, 0).label("under_way")
    ).cte("ranked")
    taken = (
        select(webhook_deliveries.c.id)
        .join(ranked, ranked.c.id == webhook_deliveries.c.id)
        .where(is_due, ranked.c.place <= bindparam("per_host", type_=Integer) - ranked.c.under_way)
        .order_by(webhook_deliveries.c.next_attempt_at, webhook_deliveries.c.id)
        .limit(bindparam("at_most", type_=Integer))
        .with_for_update(of=webhook_deliveries, skip_locked=True)
        .cte("taken")
    )
    ends = func.now() + make_seconds(bindparam("lease_s", type_=Float))
    leased = (
        update(webhook_deliveries)
        .where(webhook_deliveries.c.id == taken.c.id)
        .values(attempts=webhook_deliveries.c.attempts + 1, next_attempt_at=ends, lease_until=ends)
        .returning(webhook_deliveries)
        .cte("leased")
    )
    secrets = (
        func.coalesce(webhook_endpoints.c.secret, webhook_secrets.c.secret).label("secret"),
        func.coalesce(previous_while_valid(webhook_endpoints), previous_while_valid(webhook_secrets)).label(
            "previous_secret"
        ),
    )
    return (
        select(
            leased,
            func.coalesce(webhook_endpoints.c.url, leased.c.url).label("address"),
            host_of(leased.c.url).label("host"),
            func.coalesce(webhook_endpoints.c.is_active, literal_column("true")).label("endpoint_is_on"),
            users.c.is_active.label("user_is_active"),
            *secrets,
        )
        .join(users, users.c.id == leased.c.user_id)
        .outerjoin(webhook_endpoints, webhook_endpoints.c.id == leased.c.endpoint_id)
        .outerjoin(
            webhook_secrets,
            and_(webhook_secrets.c.user_id == leased.c.user_id, leased.c.endpoint_id.is_(None)),
        )
        .order_by(leased.c.id)
    )


def host_of(url: ColumnElement[str]) -> ColumnElement[str]:
    """Host and port of an address: what deliveries are bounded by."""
    return func.split_part(url, "/", 3)


@lru_cache(maxsize=1)
def read_seconds_until_due() -> Select[Any]:
    """Seconds until the next delivery is due, below 0 where one is; None where none waits."""
    soonest = func.min(webhook_deliveries.c.next_attempt_at)
    return select(func.extract("epoch", soonest - func.now()).label("seconds")).where(IS_PENDING, IS_ITS_TURN)


def read_backlog() -> Select[Any]:
    """How many deliveries wait, and for how many seconds the oldest of those that are due; None for none."""
    late = func.now() - func.min(webhook_deliveries.c.next_attempt_at)
    return select(
        func.count().label("waiting"), func.greatest(func.extract("epoch", late), 0.0).label("late_s")
    ).where(IS_PENDING)


@lru_cache(maxsize=1)
def read_told() -> Select[Any]:
    """What the address of `the_delivery` got last of its job (`body`), and whether a message is `newer`."""
    this, told, newer = (webhook_deliveries.alias(name) for name in ("this", "told", "newer"))

    def to_same(other: Any) -> ColumnElement[bool]:
        return and_(other.c.job_id == this.c.job_id, other.c.url == this.c.url)

    last = (
        select(told.c.body)
        .where(to_same(told), told.c.id < this.c.id, told.c.state == "DELIVERED")
        .order_by(told.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    since = exists().where(to_same(newer), newer.c.id > this.c.id)
    return select(last.label("body"), since.label("newer")).where(
        this.c.id == bindparam("the_delivery", type_=BigInteger)
    )


def keep_body(delivery_id: int, body: str) -> Update:
    """Keep what is sent, before it is sent for the first time; brings back what was kept first."""
    return (
        update(webhook_deliveries)
        .where(webhook_deliveries.c.id == delivery_id)
        .values(body=func.coalesce(webhook_deliveries.c.body, body))
        .returning(webhook_deliveries.c.body)
    )


def record_delivered(attempt: Attempt) -> Select[Any]:
    """Write down that a receiver took a message; its endpoint fails no longer."""
    done = (
        _of_attempt(attempt)
        .values(
            state="DELIVERED",
            delivered_at=func.now(),
            lease_until=None,
            last_status=attempt.status,
            last_error=None,
        )
        .returning(webhook_deliveries.c.id)
        .cte("done")
    )
    works = (
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == attempt.endpoint_id, webhook_endpoints.c.failing_since.is_not(None))
        .values(failing_since=None)
        .returning(webhook_endpoints.c.id)
        .cte("works")
    )
    # the endpoint before the delivery, as everywhere: whoever deletes it meanwhile is waited for, not crossed
    return select(func.count(works.c.id)).add_cte(_log(attempt), done)


def record_failed(attempt: Attempt, *, disable_after_s: float) -> Select[Any]:
    """Write down that an attempt failed, and when the next one is due, if any.

    An endpoint whose attempts have all failed for `disable_after_s` seconds, or which is gone, is switched
    off; what else waits for it has failed with that. Brings back why, where it was.
    """
    again = attempt.retry_in_s is not None and not attempt.gone
    final = "DROPPED" if attempt.passing else "FAILED"
    failed = (
        _of_attempt(attempt)
        .values(
            state="PENDING" if again else final,
            failures=webhook_deliveries.c.failures + 1,
            next_attempt_at=seconds_from_now(attempt.retry_in_s or 0.0) if again else func.now(),
            lease_until=None,
            last_status=attempt.status,
            last_error=attempt.error,
        )
        .returning(webhook_deliveries.c.id)
        .cte("failed")
    )
    failing = (
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == attempt.endpoint_id)
        .values(**_failing(attempt, disable_after_s))
        .returning(webhook_endpoints.c.id, webhook_endpoints.c.is_active, webhook_endpoints.c.disabled_reason)
        .cte("failing")
    )
    given_up = (
        fail_waiting("The endpoint was switched off.")
        .where(
            webhook_deliveries.c.endpoint_id == failing.c.id,
            ~failing.c.is_active,
            # one row is not changed twice in one statement
            webhook_deliveries.c.id != attempt.delivery_id,
        )
        .cte("given_up")
    )
    reason = select(failing.c.disabled_reason).scalar_subquery()
    return select(reason.label("disabled_reason")).add_cte(_log(attempt), failed, given_up)


def record_not_sent(delivery_id: int, number: int, reason: str, *, state: str) -> Update:
    """Give up a delivery without an attempt: nobody is to be told any more."""
    return (
        update(webhook_deliveries)
        .where(webhook_deliveries.c.id == delivery_id, webhook_deliveries.c.attempts == number, IS_PENDING)
        .values(state=state, last_error=reason, lease_until=None, attempts=number - 1)
        .returning(webhook_deliveries.c.id)
    )


def hand_back(delivery_ids: Collection[int]) -> Update:
    """Make leased deliveries due at once: their courier stops before they were sent, or knows no outcome."""
    return (
        update(webhook_deliveries)
        .where(webhook_deliveries.c.id.in_(delivery_ids), IS_PENDING)
        .values(next_attempt_at=func.now(), lease_until=None)
        .returning(webhook_deliveries.c.id, func.pg_notify("pipeline3d_webhooks", ""))
    )


def _of_attempt(attempt: Attempt) -> Update:
    return update(webhook_deliveries).where(
        webhook_deliveries.c.id == attempt.delivery_id,
        webhook_deliveries.c.attempts == attempt.number,
        IS_PENDING,
    )


def _log(attempt: Attempt) -> Any:
    """The line of the log, where the delivery is still there."""
    columns: dict[str, Any] = {
        "delivery_id": webhook_deliveries.c.id,
        "number": literal(attempt.number),
        "status": literal(attempt.status, webhook_attempts.c.status.type),
        "error": literal(attempt.error, webhook_attempts.c.error.type),
        "milliseconds": literal(attempt.milliseconds),
        "answer": literal(attempt.answer),
    }
    line = select(*columns.values()).where(webhook_deliveries.c.id == attempt.delivery_id)
    return insert(webhook_attempts).from_select(list(columns), line).cte("logged")


def _failing(attempt: Attempt, disable_after_s: float) -> dict[str, Any]:
    """What a failed attempt makes of its endpoint."""
    ends: ColumnElement[bool]
    reason: ColumnElement[str]
    if attempt.gone:
        ends, reason = literal_column("true"), literal("It answered 410: it wants nothing any more.")
    else:
        since = func.coalesce(webhook_endpoints.c.failing_since, func.now())
        ends = since <= seconds_from_now(-disable_after_s)
        reason = func.concat("Every attempt failed since ", func.to_char(since, 'YYYY-MM-DD HH24:MI "h."'))
    ends = and_(webhook_endpoints.c.is_active, ends)
    return {
        "failing_since": func.coalesce(webhook_endpoints.c.failing_since, func.now()),
        "is_active": and_(webhook_endpoints.c.is_active, ~ends),
        "disabled_at": case((ends, func.now()), else_=webhook_endpoints.c.disabled_at),
        "disabled_reason": case((ends, reason), else_=webhook_endpoints.c.disabled_reason),
    }
