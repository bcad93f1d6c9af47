"""Workers and the runs that were given to them: who is there, who does what, what is to be ended.

`launched_runs` is the truth about a run between its launch and its end; a broker's message is only a hint
that one waits. A run is taken by one process and never by a second: the row says whose it is. Every moment is
by the clock of Postgres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    TIMESTAMP,
    Engine,
    Executable,
    Row,
    Text,
    and_,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.notifications import wait_for_notification
from pipeline3d.database.tables import launched_runs, workers
from pipeline3d.requests.history import QUEUE_CHANNEL
from pipeline3d.requests.leases import make_seconds

WORKERS_CHANNEL = "pipeline3d_workers"
"""Told the id of a worker that should look at its runs, or the id of a run that no worker has taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """A worker as it announces itself."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    gpu: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchedRun:
    """A run between its launch and its end. `worker_id` and `worker_pid` are None while it waits."""

    run_id: str
    job_name: str
    queue: str
    job_id: UUID | None
    attempt: int | None
    worker_id: str | None
    worker_pid: int | None
    cancel_requested: bool


class Fleet:
    """Reads and changes workers and launched runs, synchronously; one statement each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    # -- for the launcher

    def launch(
        self, run_id: str, *, job_name: str, queue: str, job_id: UUID | None, attempt: int | None
    ) -> bool:
        """Record a run that may be taken from now on; a second time changes nothing.

        False, and nothing recorded, where another run of the same attempt is on its way already.
        """
        values = {
            "run_id": run_id,
            "job_name": job_name,
            "queue": queue,
            "job_id": job_id,
            "attempt": attempt,
        }
        row = select(*(literal(value, launched_runs.c[name].type) for name, value in values.items()))
        if job_id is not None and attempt is not None:
            other = launched_runs.alias("other")
            same = exists().where(
                other.c.job_id == job_id, other.c.attempt == attempt, other.c.run_id != run_id
            )
            row = row.where(~same)
        recorded = insert(launched_runs).from_select(list(values), row)
        if self._first(recorded.on_conflict_do_nothing().returning(launched_runs.c.run_id)) is not None:
            return True
        return self.find(run_id) is not None

    def request_stop(self, run_id: str) -> LaunchedRun | None:
        """Ask for the end of a run and wake its worker; None where it is not launched or has ended."""
        asked = (
            update(launched_runs)
            .where(launched_runs.c.run_id == run_id)
            .values(cancel_requested_at=func.coalesce(launched_runs.c.cancel_requested_at, func.now()))
            .returning(*launched_runs.c)
            .cte("asked")
        )
        woken = func.pg_notify(WORKERS_CHANNEL, func.coalesce(asked.c.worker_id, asked.c.run_id))
        return _launched(self._first(select(*asked.c, woken)))

    def find(self, run_id: str) -> LaunchedRun | None:
        """A launched run; None where it has ended or was never launched."""
        return _launched(self._first(select(launched_runs).where(launched_runs.c.run_id == run_id)))

    def is_worker_alive(self, worker_id: str, silent_after_s: float) -> bool:
        """Whether the worker gave a sign of life that recently."""
        alive = select(workers.c.id).where(
            workers.c.id == worker_id, workers.c.heartbeat_at > func.now() - make_seconds(silent_after_s)
        )
        return self._first(alive) is not None

    # -- for a worker's processes

    def take(self, run_id: str, worker_id: str, pid: int) -> LaunchedRun | None:
        """Make a waiting run this process's own; None where somebody else has it or it has ended.

        A process that lost the answer asks again and gets what it has.
        """
        own = and_(launched_runs.c.worker_id == worker_id, launched_runs.c.worker_pid == pid)
        taken = (
            update(launched_runs)
            .where(launched_runs.c.run_id == run_id, or_(launched_runs.c.worker_id.is_(None), own))
            .values(worker_id=worker_id, worker_pid=pid, taken_at=func.now())
            .returning(*launched_runs.c)
        )
        return _launched(self._first(taken))

    def finish(self, run_id: str, worker_id: str | None = None) -> bool:
        """Forget a run that has ended and is settled; with a worker, only where it is that worker's."""
        statement = delete(launched_runs).where(launched_runs.c.run_id == run_id)
        if worker_id is not None:
            statement = statement.where(launched_runs.c.worker_id == worker_id)
        return self._first(statement.returning(launched_runs.c.run_id)) is not None

    # -- for the warden of a worker

    def register(self, facts: WorkerFacts) -> None:
        """Announce a worker: from now on it serves its queues, and what waits in them starts."""
        announced = (
            insert(workers)
            .values(
                id=facts.id,
                host=facts.host,
                pid=facts.pid,
                queues=list(facts.queues),
                concurrency=facts.concurrency,
                gpu=facts.gpu,
            )
            .returning(workers.c.id)
            .cte("announced")
        )
        self._run(select(func.pg_notify(cast(literal(QUEUE_CHANNEL), Text), announced.c.id)))

    def beat(self, worker_id: str) -> bool | None:
        """Say that the worker is alive; brings back whether it should drain, None where nobody knows it."""
        row = self._first(
            update(workers)
            .where(workers.c.id == worker_id)
            .values(heartbeat_at=func.now())
            .returning(workers.c.draining)
        )
        return None if row is None else bool(row.draining)

    def leave(self, worker_id: str) -> None:
        """The worker ends in order and has nothing left to do."""
        self._run(delete(workers).where(workers.c.id == worker_id))

    def runs_of(self, worker_id: str) -> list[LaunchedRun]:
        """What a worker's processes have taken."""
        rows = self._all(select(launched_runs).where(launched_runs.c.worker_id == worker_id))
        return [run for row in rows if (run := _launched(row))]

    def could_be_told(self, for_s: float) -> bool:
        """Whether Postgres has been there that long: in its absence nobody can give a sign of life."""
        started = func.pg_postmaster_start_time(type_=TIMESTAMP(timezone=True))
        row = self._first(select((started <= func.now() - make_seconds(for_s)).label("long_enough")))
        return row is not None and bool(row.long_enough)

    def runs_of_dead_workers(self, silent_after_s: float) -> list[LaunchedRun]:
        """Runs whose worker has not spoken for that long or has left without them."""
        living = select(workers.c.id).where(
            workers.c.heartbeat_at > func.now() - make_seconds(silent_after_s)
        )
        lost = select(launched_runs).where(
            launched_runs.c.worker_id.is_not(None),
            launched_runs.c.worker_id.not_in(living),
            # one that registers in this moment may have taken its first run already
            launched_runs.c.taken_at < func.now() - make_seconds(5),
        )
        return [run for row in self._all(lost) if (run := _launched(row))]

    def withdraw_called_off(self) -> list[LaunchedRun]:
        """Take back the runs that are to end before a worker took them; nobody can take them any more."""
        withdrawn = (
            delete(launched_runs)
            .where(launched_runs.c.worker_id.is_(None), launched_runs.c.cancel_requested_at.is_not(None))
            .returning(*launched_runs.c)
        )
        return [run for row in self._all(withdrawn) if (run := _launched(row))]

    def claim_forgotten(
        self, queues: Sequence[str], forgotten_after_s: float, limit: int
    ) -> list[tuple[str, str]]:
        """Waiting runs (id and queue) that the broker was told of that long ago: to be published again."""
        forgotten = (
            select(launched_runs.c.run_id)
            .where(
                launched_runs.c.worker_id.is_(None),
                launched_runs.c.queue.in_(list(queues)),
                launched_runs.c.published_at < func.now() - make_seconds(forgotten_after_s),
            )
            .order_by(launched_runs.c.launched_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("forgotten")
        )
        again = (
            update(launched_runs)
            .where(launched_runs.c.run_id == forgotten.c.run_id)
            .values(published_at=func.now())
            .returning(launched_runs.c.run_id, launched_runs.c.queue)
        )
        return [(row.run_id, row.queue) for row in self._all(again)]

    def wait_for_call(self, timeout_s: float) -> bool:
        """Return when a worker is called to look at its runs, or when the time is up."""
        return wait_for_notification(self._engine, WORKERS_CHANNEL, lambda: timeout_s)

    def call(self, worker_id: str) -> None:
        """Wake a worker."""
        self._run(select(func.pg_notify(cast(literal(WORKERS_CHANNEL), Text), worker_id)))

    def _run(self, statement: Executable) -> None:
        with self._engine.connect() as connection:
            connection.execute(statement)

    def _first(self, statement: Executable) -> Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(statement).first()

    def _all(self, statement: Executable) -> list[Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(statement).all())


def _launched(row: Row[Any] | None) -> LaunchedRun | None:
    if row is None:
        return None
    return LaunchedRun(
        run_id=row.run_id,
        job_name=row.job_name,
        queue=row.queue,
        job_id=row.job_id,
        attempt=row.attempt,
        worker_id=row.worker_id,
        worker_pid=row.worker_pid,
        cancel_requested=row.cancel_requested_at is not None,
    )
