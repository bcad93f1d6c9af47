"""What operators do to queues, requests and workers: pause and resume, queue again, drain.

Every action is one statement and tells those who wait for it: dispatchers when something may start again,
workers when they should take nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Executable, Row, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.tables import models, pauses, workers
from pipeline3d.errors import RequestError
from pipeline3d.requests import changes, queue_facts, reading
from pipeline3d.requests.fleet import WORKERS_CHANNEL
from pipeline3d.requests.history import QUEUE_CHANNEL
from pipeline3d.requests.turns import EVERY_QUEUE
from pipeline3d.values import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeued:
    """What became of a request that was to be queued again; `state` None where there is none of that id."""

    job_id: UUID
    queued: bool
    state: JobState | None


class Operations:
    """Changes queues, requests and workers as their operator wants it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def pause(self, queue: str, reason: str = "") -> None:
        """Dispatch nothing of a queue (`*` is every queue) until it is resumed. What runs goes on."""
        self._require_queue(queue)
        row = insert(pauses).values(queue=queue, reason=reason)
        self._all(row.on_conflict_do_update(index_elements=["queue"], set_={"reason": reason}))

    def resume(self, queue: str) -> list[str]:
        """Take back the pause of a queue, or every pause with `*`; the pauses that there were."""
        ended = delete(pauses).returning(pauses.c.queue)
        if queue != EVERY_QUEUE:
            self._require_queue(queue)
            ended = ended.where(pauses.c.queue == queue)
        resumed = [row.queue for row in self._all(ended)]
        self._all(select(func.pg_notify(QUEUE_CHANNEL, "resumed")))
        return resumed

    def list_pauses(self) -> dict[str, str]:
        """The queues that are paused, with the reasons."""
        return {row.queue: row.reason for row in self._all(queue_facts.list_pauses())}

    def requeue(self, job_ids: Sequence[UUID]) -> list[Requeued]:
        """Queue requests that did not succeed once more; others stay as they are."""
        done = []
        for job_id in job_ids:
            row = self._first(changes.retry_by_hand(job_id))
            found = row or self._first(reading.read_job(), the_job=job_id)
            state = None if found is None else JobState(found.state)
            done.append(Requeued(job_id=job_id, queued=row is not None, state=state))
        return done

    def requeue_failed(self, since_s: float, code: str | None = None) -> list[UUID]:
        """Queue again what failed in the last `since_s` seconds: with this code, or where it may help."""
        return [row.id for row in self._all(changes.retry_failed(since_s, code))]

    def drain(self, name: str, *, draining: bool = True) -> list[str]:
        """Let a worker, or all workers of a host, take nothing new (or take again); their ids."""
        changed = (
            update(workers)
            .where(or_(workers.c.id == name, workers.c.host == name))
            .values(draining=draining)
            .returning(workers.c.id)
            .cte("changed")
        )
        woken = select(
            changed.c.id,
            func.pg_notify(WORKERS_CHANNEL, changed.c.id).label("told_worker"),
            func.pg_notify(QUEUE_CHANNEL, changed.c.id).label("told_dispatcher"),
        )
        ids = [row.id for row in self._all(woken)]
        if not ids:
            known = sorted(
                {value for row in self._all(select(workers.c.id, workers.c.host)) for value in row}
            )
            raise RequestError(
                f"There is no worker or host {name!r}.",
                code="unknown_worker",
                hint=f"There are {', '.join(known)}." if known else "No worker is announced.",
            )
        return ids

    def list_runs_of(self, name: str) -> list[str]:
        """The runs that a worker, or all workers of a host, still have."""
        return [row.run_id for row in self._all(queue_facts.list_running_of(name))]

    def _require_queue(self, queue: str) -> None:
        known = sorted(row.queue for row in self._all(select(models.c.queue).distinct()))
        if queue not in (*known, EVERY_QUEUE):
            raise RequestError(
                f"No model has the queue {queue!r}.",
                code="unknown_queue",
                hint=f"There are {', '.join(known)}.",
            )

    def _first(self, statement: Executable, **values: Any) -> Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(statement, values).first()

    def _all(self, statement: Executable) -> list[Row[Any]]:
        with self._engine.connect() as connection:
            result = connection.execute(statement)
            return list(result.all()) if result.returns_rows else []
