"""What may be forgotten of old requests, and the statements that forget it.

The rows of `jobs` are the record and stay for ever; around them grow partitions, runs, histories, messages
and files that nobody looks at any more. The rules are pure. A statement names what is past its time in the
condition of the delete itself, so that whatever changed since it was planned stays. Nothing here knows
Dagster or the object store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    MetaData,
    Select,
    Table,
    and_,
    delete,
    exists,
    false,
    func,
    or_,
    select,
)

from pipeline3d.database.tables import (
    NAMES_AN_UPLOAD,
    artifacts,
    job_events,
    jobs,
    launched_runs,
    workers,
)
from pipeline3d.values import FINISHED_STATES

LOCK_ID = 0x7033_6470
"""One prune at a time; a second one finds the lock taken and leaves."""

# Made by Celery in the database of the jobs, where Postgres is the broker or keeps the errors of tasks.
_celery = MetaData()
kombu_message = Table(
    "kombu_message", _celery, Column("id", Integer, primary_key=True), Column("visible", Boolean)
)
celery_taskmeta = Table(
    "celery_taskmeta", _celery, Column("id", Integer, primary_key=True), Column("date_done", DateTime)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept, in days, and how many live partitions a family may have."""

    partition_days: int = 30
    live_partitions: int = 10_000
    failed_run_days: int = 90
    run_log_days: int = 14
    history_days: int = 90
    unused_upload_days: int = 2
    webhook_days: int = 30
    audit_days: int = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """A live partition key and when its request ended; None while there is still something to do for it."""

    key: str
    finished_at: datetime | None

    def still_needed(self) -> KeyFacts:
        """The same for a key that a run works on although its request has ended."""
        return replace(self, finished_at=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run that has ended. `key` is its partition, None where it has none."""

    run_id: str
    key: str | None
    failed: bool
    ended_at: datetime


def choose_stale_keys(facts: Iterable[KeyFacts], *, oldest: datetime, at_most: int) -> list[str]:
    """The keys beyond the window: those of requests that ended before `oldest`, and those beyond `at_most`.

    The newest stay. Keys of unfinished requests always stay and count first.
    """
    known = list(facts)
    finished = [(fact.finished_at, fact.key) for fact in known if fact.finished_at is not None]
    finished.sort(reverse=True)
    room = max(0, at_most - (len(known) - len(finished)))
    return [key for rank, (moment, key) in enumerate(finished) if rank >= room or moment < oldest]


def is_stale_run(run: RunFacts, *, live: set[str], stale: set[str], now: datetime, keep: Retention) -> bool:
    """Whether a run that has ended may go: it is kept with its live key, and a failed one for longer."""
    if run.key in live:
        return False
    if run.failed:
        return run.ended_at < now - timedelta(days=keep.failed_run_days)
    return run.key in stale or run.ended_at < now - timedelta(days=keep.partition_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Rows of one table that are past their time.

    The table is walked in pages along its key, which is a column, or made of columns of `in_table`. Where
    `ordered_by` grows with the key, the walk ends at the first row that is not older than `until`, so that a
    long table is not read to its end.
    """

    what: str
    key: ColumnElement[Any]
    past: ColumnElement[bool]
    in_table: Table | None = None
    ordered_by: ColumnElement[Any] | None = None
    until: datetime | None = None

    @property
    def table(self) -> Table:
        """The table whose rows they are."""
        table: Table = self.key.table if self.in_table is None else self.in_table
        return table

    def read_page(self, after: Any, limit: int) -> Select[Any]:
        """The next keys, whether each is past its time (`past`), and whether the walk ends here (`ends`)."""
        ends = self.ordered_by >= self.until if self.ordered_by is not None else false()
        page = select(self.key.label("key"), self.past.label("past"), ends.label("ends"))
        if after is not None:
            page = page.where(self.key > after)
        return page.order_by(self.key).limit(limit)

    def remove(self, keys: Sequence[Any]) -> Any:
        """Remove those of these rows that are past their time now."""
        return delete(self.table).where(self.key.in_(keys), self.past).returning(self.key)


def old_history(before: datetime) -> Sweep:
    """The lines of history of requests that ended before that moment."""
    ended = exists().where(
        jobs.c.id == job_events.c.job_id, jobs.c.state.in_(FINISHED_STATES), jobs.c.completed_at < before
    )
    return Sweep(
        what="lines of history",
        key=job_events.c.id,
        past=and_(job_events.c.created_at < before, ended),
        ordered_by=job_events.c.created_at,
        until=before,
    )


def consumed_messages() -> Sweep:
    """What kombu's own SQL transport keeps of messages that were read; ours deletes them by itself."""
    return Sweep(what="read messages", key=kombu_message.c.id, past=kombu_message.c.visible.is_(False))


def old_task_errors(before: datetime) -> Sweep:
    """What Celery keeps of tasks that failed; its clock writes UTC without a zone."""
    moment = func.timezone("UTC", before)
    return Sweep(what="errors of tasks", key=celery_taskmeta.c.id, past=celery_taskmeta.c.date_done < moment)


def silent_workers(before: datetime, *, forgotten_runs: Sequence[str]) -> Sweep:
    """Workers that have not spoken since then and have no run but those that are forgotten too."""
    busy = exists().where(
        launched_runs.c.worker_id == workers.c.id, launched_runs.c.run_id.not_in(forgotten_runs)
    )
    return Sweep(what="silent workers", key=workers.c.id, past=and_(workers.c.heartbeat_at < before, ~busy))


def list_launched(before: datetime) -> Select[Any]:
    """Runs that were launched before that moment and that nobody has settled since."""
    return select(launched_runs.c.run_id).where(launched_runs.c.launched_at < before)


def forget_launched(run_ids: Sequence[str]) -> Any:
    """Forget launched runs of which Dagster says that they have ended."""
    return delete(launched_runs).where(launched_runs.c.run_id.in_(run_ids)).returning(launched_runs.c.run_id)


def read_standings(job_ids: Sequence[UUID]) -> Select[Any]:
    """When these requests ended; no moment for those that have not."""
    return select(jobs.c.id, jobs.c.completed_at).where(jobs.c.id.in_(job_ids))


def hold_finished(job_ids: Sequence[UUID]) -> Select[Any]:
    """Those of these requests that have ended, held so that none begins again before the transaction ends."""
    return (
        select(jobs.c.id)
        .where(jobs.c.id.in_(job_ids), jobs.c.state.in_(FINISHED_STATES))
        .with_for_update(skip_locked=True)
    )


def is_expired() -> ColumnElement[bool]:
    """Requests that have ended and whose files were to be kept until a moment that has passed."""
    return and_(jobs.c.expires_at <= func.now(), jobs.c.state.in_(FINISHED_STATES))


def list_expired(after: UUID | None, limit: int) -> Select[Any]:
    """The next expired requests that still have files."""
    page = select(jobs.c.id).where(is_expired(), exists().where(artifacts.c.job_id == jobs.c.id))
    if after is not None:
        page = page.where(jobs.c.id > after)
    return page.order_by(jobs.c.id).limit(limit)


def list_files(job_ids: Sequence[UUID]) -> Select[Any]:
    """The files of these requests."""
    return select(artifacts.c.storage_path, artifacts.c.file_size_bytes).where(
        artifacts.c.job_id.in_(job_ids)
    )


def forget_files(job_ids: Sequence[UUID]) -> Any:
    """Forget the files of those of these requests that are expired; brings back which they were."""
    return (
        delete(artifacts)
        .where(artifacts.c.job_id.in_(job_ids), artifacts.c.job_id == jobs.c.id, is_expired())
        .returning(artifacts.c.storage_path, artifacts.c.file_size_bytes)
    )


def list_named_uploads(keys: Sequence[str], *, by_expired: bool = True) -> Select[Any]:
    """Those of these uploads that a request names; `by_expired` False asks for unexpired requests only."""
    named = select(artifacts.c.storage_path).where(artifacts.c.storage_path.in_(keys), NAMES_AN_UPLOAD)
    if not by_expired:
        unexpired = or_(jobs.c.expires_at.is_(None), ~is_expired())
        named = named.join(jobs, jobs.c.id == artifacts.c.job_id).where(unexpired)
    return named.distinct()


def list_named_results(job_ids: Sequence[UUID]) -> Select[Any]:
    """The keys of all that is recorded for these requests."""
    return select(artifacts.c.storage_path).where(artifacts.c.job_id.in_(job_ids))


def list_unfinished(job_ids: Sequence[UUID]) -> Select[Any]:
    """Those of these requests for which something may be written at any moment."""
    return select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.state.not_in(FINISHED_STATES))
