"""What is left of deleted requests in the database: which may be removed now, and the last step of it.

A request may be removed once nothing can write for it any more and no other request needs its files. Its row
goes last, so that a removal that is killed at any moment is found again and begun anew. Nothing here knows
Dagster or the object store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Engine,
    Executable,
    Row,
    and_,
    delete,
    exists,
    func,
    literal_column,
    select,
    tuple_,
)

from pipeline3d.database.notifications import Listener, listening
from pipeline3d.database.tables import artifacts, idempotency_keys, jobs, launched_runs
from pipeline3d.database.webhook_tables import webhook_deliveries
from pipeline3d.requests.deleting import REMOVALS_CHANNEL, needed_by
from pipeline3d.requests.event_types import JobEventType
from pipeline3d.requests.leases import past_or_unset
from pipeline3d.requests.uploads import forget_records, hold_records
from pipeline3d.values import FINISHED_STATES

PAGE_REQUESTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A deleted request whose removal is to be done."""

    job_id: UUID
    family: str
    run_key: str
    """The key of its last attempt's run."""
    is_expected: bool
    """Whether that run may be on its way although nothing is seen of it yet."""
    waited_s: float
    """Since its owner asked for the end of it."""
    may_go: bool
    """Whether it has ended and no other request needs its files."""


class Removals:
    """Reads and ends what is left of deleted requests, synchronously; one statement each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Hears of every request that is to be removed."""
        with listening(self._engine, REMOVALS_CHANNEL) as listener:
            yield listener

    def pages_of_leftovers(self) -> Iterator[list[Leftover]]:
        """All deleted requests that are still there, the first deleted one first."""
        last: Row[Any] | None = None
        while rows := self._all(_list_deleted(last)):
            yield [_leftover(row) for row in rows]
            last = rows[-1]

    def forget_uploads(self, job_id: UUID) -> list[str]:
        """Strike off the books, before their objects go, the uploads that this request alone names.

        A request that names one at this moment either keeps it, or finds that it has gone.
        """
        engine = self._engine.execution_options(isolation_level="READ COMMITTED")
        with engine.begin() as connection:
            named = list(connection.scalars(_list_own_uploads(job_id)))
            connection.execute(hold_records(named))
            own = list(connection.scalars(_list_own_uploads(job_id)))  # after whoever was faster
            connection.execute(forget_records(own))
        return own

    def list_launched(self, job_id: UUID) -> list[str]:
        """The runs of a request that are on the books of launched runs."""
        rows = self._all(select(launched_runs.c.run_id).where(launched_runs.c.job_id == job_id))
        return [row.run_id for row in rows]

    def forget(self, job_id: UUID) -> bool:
        """Remove the row of a deleted request with all that refers to it; False where it has to stay yet."""
        return bool(self._all(_forget(job_id)))

    def _all(self, statement: Executable) -> list[Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(statement).all())


_HAS_ENDED = jobs.c.state.in_(sorted(FINISHED_STATES))


def _list_deleted(after: Row[Any] | None) -> Any:
    page = select(
        *(jobs.c[name] for name in ("id", "family", "attempt", "deleted_at")),
        (~past_or_unset(jobs.c.lease_until)).label("is_leased"),
        func.extract("epoch", func.now() - jobs.c.deleted_at).label("waited_s"),
        and_(_HAS_ENDED, ~needed_by(jobs.c.id, jobs.c.user_id)).label("may_go"),
    ).where(jobs.c.deleted_at.is_not(None))
    if after is not None:
        page = page.where(tuple_(jobs.c.deleted_at, jobs.c.id) > tuple_(after.deleted_at, after.id))
    return page.order_by(jobs.c.deleted_at, jobs.c.id).limit(PAGE_REQUESTS)


def _list_own_uploads(job_id: UUID) -> Any:
    other = artifacts.alias("other")
    shared = exists().where(
        other.c.storage_path == artifacts.c.storage_path, _is_upload(other), other.c.job_id != job_id
    )
    own = select(artifacts.c.storage_path).where(artifacts.c.job_id == job_id, _is_upload(artifacts))
    return own.where(~shared).distinct()


def _is_upload(rows: Any) -> ColumnElement[bool]:
    """`NAMES_AN_UPLOAD` of a table by any name; not bound, so that Postgres sees the index of it."""
    return cast("ColumnElement[bool]", rows.c.storage_path.op("LIKE")(literal_column("'uploads/%'")))


def _forget(job_id: UUID) -> Any:
    gone = (
        delete(jobs)
        .where(
            jobs.c.id == job_id,
            jobs.c.deleted_at.is_not(None),
            _HAS_ENDED,
            ~needed_by(jobs.c.id, jobs.c.user_id),
        )
        .returning(jobs.c.id, jobs.c.user_id)
        .cte("gone")
    )
    ids = select(gone.c.id)
    # what tells of the deletion itself is still to be delivered, and holds nothing of the request but its id
    told = webhook_deliveries.c.event == JobEventType.DELETED.value
    return select(gone.c.id).add_cte(
        delete(webhook_deliveries).where(webhook_deliveries.c.job_id.in_(ids), ~told).cte("deliveries"),
        delete(launched_runs).where(launched_runs.c.job_id.in_(ids)).cte("launches"),
        delete(idempotency_keys)
        .where(idempotency_keys.c.user_id.in_(select(gone.c.user_id)), idempotency_keys.c.job_id.in_(ids))
        .cte("keys"),
    )


def _leftover(row: Row[Any]) -> Leftover:
    return Leftover(
        job_id=row.id,
        family=row.family,
        run_key=f"{row.id}:{row.attempt}",
        is_expected=row.is_leased,
        waited_s=float(row.waited_s),
        may_go=row.may_go,
    )
