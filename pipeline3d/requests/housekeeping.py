"""Runs the statements of `pruning` in batches, each in a transaction of its own.

Killed at any moment it has lost nothing: what is gone was past its time, and the next prune finds the rest. A
dry run takes the same way and removes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Engine, Executable, Row, func, select

from pipeline3d.requests import pruning, uploads
from pipeline3d.requests.pruning import KeyFacts, Sweep

Item = TypeVar("Item")

PAGE_ROWS = 2000
"""Rows that one statement looks at or removes: some ten milliseconds."""
PAGE_REQUESTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFile:
    """An object as a row of `artifacts` names it."""

    key: str
    size: int


class Housekeeper:
    """Reads and forgets what is old in the database of the jobs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._in_transaction = engine.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether this is the only prune; nobody else prunes before the end of the block if so."""
        with self._engine.connect() as connection:
            taken = bool(connection.execute(select(func.pg_try_advisory_lock(pruning.LOCK_ID))).scalar())
            try:
                yield taken
            finally:
                if taken:
                    connection.execute(select(func.pg_advisory_unlock(pruning.LOCK_ID)))

    def read_clock(self) -> datetime:
        """Now, by the clock of Postgres, which is what every age is measured with."""
        now: datetime = self._all(select(func.now()))[0][0]
        return now

    def sweep(self, sweep: Sweep, *, dry_run: bool) -> int:
        """Remove the rows that are past their time; how many they are. No table is no rows."""
        [exists] = self._all(select(func.to_regclass(sweep.table.name).is_not(None)))
        return walk(sweep, self._all, dry_run=dry_run) if exists[0] else 0

    # -- partitions

    def read_standings(self, keys: Iterable[str]) -> list[KeyFacts]:
        """What became of the requests that these keys name. Keys that name no request are left out."""
        facts = []
        for page in chunk([job_id for key in keys if (job_id := _job_id(key))], PAGE_ROWS):
            for row in self._all(pruning.read_standings(page)):
                facts.append(KeyFacts(key=str(row.id), finished_at=row.completed_at))
        return facts

    @contextmanager
    def holding_finished(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """Those of these keys whose request has ended and will not begin again inside the block."""
        job_ids = [UUID(key) for key in keys]
        with self._in_transaction.begin() as connection:
            yield [str(row.id) for row in connection.execute(pruning.hold_finished(job_ids))]

    # -- launched runs

    def list_launched(self, before: datetime) -> list[str]:
        """Runs that were launched before that moment and are still on the books."""
        return [row.run_id for row in self._all(pruning.list_launched(before))]

    def forget_launched(self, run_ids: Sequence[str]) -> None:
        """Strike launched runs off the books."""
        for page in chunk(run_ids, PAGE_ROWS):
            self._all(pruning.forget_launched(page))

    # -- files

    def pages_of_expired(self) -> Iterator[list[UUID]]:
        """Requests whose files have expired, a page at a time."""
        last: UUID | None = None
        while page := [row.id for row in self._all(pruning.list_expired(last, PAGE_REQUESTS))]:
            yield page
            last = page[-1]

    def list_files(self, job_ids: Sequence[UUID]) -> list[RecordedFile]:
        """What is recorded for these requests."""
        return [_recorded(row) for row in self._all(pruning.list_files(job_ids))]

    def forget_files(self, job_ids: Sequence[UUID]) -> list[RecordedFile]:
        """Strike the files of those of these requests that are expired off the books."""
        return [_recorded(row) for row in self._all(pruning.forget_files(job_ids))]

    def named_uploads(self, keys: Sequence[str], *, by_expired: bool = True) -> set[str]:
        """Those of these uploads that requests name; `by_expired` False: requests with unexpired files."""
        rows = self._all(pruning.list_named_uploads(keys, by_expired=by_expired)) if keys else []
        return {row.storage_path for row in rows}

    def forget_uploads(self, keys: Sequence[str]) -> set[str]:
        """Strike those of these uploads off the books that no request with unexpired files names; which.

        A request that names one at this moment either keeps it, or finds that it has gone.
        """
        if not keys:
            return set()
        with self._in_transaction.begin() as connection:
            connection.execute(uploads.hold_records(keys))
            named = connection.scalars(pruning.list_named_uploads(keys, by_expired=False))
            forgotten = set(keys) - set(named)
            connection.execute(uploads.forget_records(sorted(forgotten)))
        return forgotten

    def kept_uploads(self, keys: Sequence[str], before: datetime) -> set[str]:
        """Those of these uploads that are on record and that a prune of what is older leaves alone."""
        rows = self._all(uploads.list_kept(keys, before)) if keys else []
        return {row.storage_path for row in rows}

    def named_results(self, job_ids: Sequence[UUID]) -> set[str]:
        """The keys of all that is recorded for these requests."""
        return {row.storage_path for row in self._all(pruning.list_named_results(job_ids))}

    def unfinished(self, job_ids: Sequence[UUID]) -> set[UUID]:
        """Those of these requests for which something may be written at any moment."""
        return {row.id for row in self._all(pruning.list_unfinished(job_ids))}

    def _all(self, statement: Executable) -> list[Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(statement).all())


def walk(sweep: Sweep, execute: Callable[[Executable], Sequence[Row[Any]]], *, dry_run: bool) -> int:
    """Take a sweep through its table, a page at a time; how many rows are (or were) past their time."""
    found, last = 0, None
    while page := execute(sweep.read_page(last, PAGE_ROWS)):
        past = [row.key for row in page if row.past]
        if past and not dry_run:
            found += len(execute(sweep.remove(past)))
        else:
            found += len(past)
        if any(row.ends for row in page):
            break
        last = page[-1].key
    return found


def chunk(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in portions of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _recorded(row: Row[Any]) -> RecordedFile:
    return RecordedFile(key=row.storage_path, size=row.file_size_bytes)


def _job_id(key: str) -> UUID | None:
    try:
        job_id = UUID(key)
    except ValueError:
        return None
    return job_id if str(job_id) == key else None
